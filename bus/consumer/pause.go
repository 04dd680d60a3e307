package consumer

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness/probe"
)

// pauseState delays handler calls while the consumer is paused, by Pause or because a service is
// not ready. If both reasons apply, both must end before handlers are called again.
type pauseState struct {
	paused atomic.Bool // byUser || notReady; read without the lock

	mu       sync.Mutex
	byUser   bool
	notReady bool
	resumed  chan struct{} // closed while not paused
}

func newPauseState() *pauseState {
	p := &pauseState{resumed: make(chan struct{})}
	close(p.resumed)
	return p
}

func (p *pauseState) setByUser(paused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byUser = paused
	p.update()
}

func (p *pauseState) setReady(ready bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notReady = !ready
	p.update()
}

// update must be called with mu held.
func (p *pauseState) update() {
	paused := p.byUser || p.notReady
	if p.paused.Swap(paused) == paused {
		return
	}
	if paused {
		p.resumed = make(chan struct{})
	} else {
		close(p.resumed)
	}
}

// wait waits until the consumer is not paused. It returns errPaused when the subscription
// begins to drain.
func (p *pauseState) wait(ctx context.Context, draining <-chan struct{}) error {
	for p.paused.Load() {
		p.mu.Lock()
		resumed := p.resumed
		p.mu.Unlock()
		select {
		case <-resumed: // check again: the consumer may be paused again
		case <-draining:
			return errPaused
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

var errPaused = &bus.Error{Code: bus.CodeCanceled, Op: "consume", Reason: "the consumer stops while messages wait for the end of a pause or a delay"}

// Pause stops calling handlers until Resume is called. Running handlers continue. The consumer
// stays in its group, keeps its partitions and its state, and fetches from a partition only until
// its window is full (see [bus.Window]). Pause can be called in every state, and a Stop or Start
// does not end it. A second Pause has no effect.
func (c *Consumer) Pause() { c.pause.setByUser(true) }

// Resume ends a Pause.
func (c *Consumer) Resume() { c.pause.setByUser(false) }

// Paused reports whether the consumer is paused, by Pause or by WithPauseUnlessReady.
func (c *Consumer) Paused() bool { return c.pause.paused.Load() }

// readiness has the arguments of WithPauseUnlessReady.
type readiness struct {
	registry *probe.Registry
	services []string
}

func (r *readiness) ready(s probe.Snapshot) bool {
	if len(r.services) == 0 {
		return s.Ready
	}
	return !slices.ContainsFunc(r.services, func(name string) bool {
		service, found := s.Service(name)
		return !found || !service.Status.Ready()
	})
}
