package consumer

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness/probe"
)

// gate holds handlers back while the consumer is paused: by hand, or because a service
// is not ready. Both have to let go.
type gate struct {
	shut atomic.Bool // something holds back: for those that pass, without the lock

	mu      sync.Mutex
	byHand  bool
	unready bool
	open    chan struct{} // closed while nothing holds back
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

// set changes what holds back, and is called with mu held.
func (g *gate) set(change func()) {
	was := g.byHand || g.unready
	change()
	is := g.byHand || g.unready
	g.shut.Store(is)
	switch {
	case was && !is:
		close(g.open)
	case is && !was:
		g.open = make(chan struct{})
	}
}

func (g *gate) pause(paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set(func() { g.byHand = paused })
}

func (g *gate) ready(ready bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set(func() { g.unready = !ready })
}

func (g *gate) state() (byHand, unready bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byHand, g.unready
}

// pass waits until nothing holds back. A paused consumer that is drained does not wait.
func (g *gate) pass(ctx context.Context, draining <-chan struct{}) error {
	for g.shut.Load() {
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		select {
		case <-open: // look again: it may be shut by now
		case <-draining:
			return errHeldBack
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

var errHeldBack = &bus.Error{Code: bus.CodeCanceled, Op: "consume", Reason: "the consumer is paused, and stops"}

// Pause holds handlers back: none is begun until Resume, and those that run go on. The
// consumer stays in its group with its partitions, and fetches no more than its windows
// hold; its state stays what it is. Pausing one that is paused changes nothing. It may
// be called in any state, and outlives Stop and Start.
func (c *Consumer) Pause() { c.gate.pause(true) }

// Resume ends what Pause began.
func (c *Consumer) Resume() { c.gate.pause(false) }

// Paused says whether handlers are held back: by Pause, or, with WhileReady, because a
// service is not ready.
func (c *Consumer) Paused() bool {
	byHand, unready := c.gate.state()
	return byHand || unready
}

// readiness is what WhileReady asks for.
type readiness struct {
	registry *probe.Registry
	services []string
}

func (r *readiness) allows(s probe.Snapshot) bool {
	if len(r.services) == 0 {
		return s.Ready
	}
	return !slices.ContainsFunc(r.services, func(name string) bool {
		service, found := s.Service(name)
		return !found || !service.Status.Ready()
	})
}
