package consumer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
)

// cycle runs a consumer from a Start to the next Stop. It makes the subscriptions, and makes
// new ones after a temporary error. Each subscription has a number, its stage: stage 0 is the
// topic, and stage n is its n-th retry topic.
type cycle struct {
	c       *Consumer
	request uint64 // number of the Start

	stopping context.Context // ends when the cycle must stop
	stop     context.CancelFunc
	aborting context.Context // ends when the contexts of running handlers must be canceled
	abort    context.CancelFunc
	done     chan struct{} // closed when no handler runs
	ended    chan struct{} // has one token if a subscription may have ended

	// Consumer.mu guards the fields below.
	subs        []*bus.Subscription // the latest
	assignments []assignment        // by stage
}

// assignment is the state of one subscription.
type assignment struct {
	assigned bool
	cause    error // why it is not assigned
}

func newCycle(c *Consumer, request uint64) *cycle {
	cy := &cycle{c: c, request: request, done: make(chan struct{}), ended: make(chan struct{}, 1), assignments: make([]assignment, c.stages())}
	cy.stopping, cy.stop = context.WithCancel(context.Background())
	cy.aborting, cy.abort = context.WithCancel(context.Background())
	return cy
}

// run subscribes, and subscribes again after each temporary error. It returns when the cycle
// must stop, or after another error, and when no handler runs. err is the error that ended the
// subscriptions. cutOff is not nil if handlers were cut off.
func (cy *cycle) run() (err, cutOff error) {
	defer cy.stop()
	defer cy.abort()
	var watching sync.WaitGroup
	defer watching.Wait()
	if r := cy.c.cfg.readiness; r != nil {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		cy.c.pause.setReady(r.ready(r.registry.Snapshot()))
		watching.Go(func() {
			for s := range r.registry.Watch(ctx) {
				cy.c.pause.setReady(r.ready(s))
			}
		})
	}
	for b := newBackoff(); ; {
		begun := time.Now()
		err, cutOff = cy.subscribe()
		if cy.stopping.Err() != nil || !temporary(err) {
			return err, cutOff
		}
		if time.Since(begun) > stableAfter {
			b = newBackoff()
		}
		if !sleep(cy.stopping, b.next()) {
			return nil, cutOff
		}
	}
}

// subscribe makes the subscriptions of all stages. It waits until the cycle must stop or a
// subscription has ended. Then it closes all subscriptions, and returns the error of the one
// that ended.
func (cy *cycle) subscribe() (err, cutOff error) {
	subs, err := cy.open()
	cy.setSubscriptions(subs)
	cy.checkConnection() // OnConnection reports only later changes
	defer cy.setSubscriptions(nil)
	var watching sync.WaitGroup
	defer watching.Wait()
	for _, s := range subs {
		watching.Go(func() {
			<-s.Done()
			select {
			case cy.ended <- struct{}{}:
			default:
			}
		})
	}
	for err == nil && cy.stopping.Err() == nil {
		select {
		case <-cy.ended: // the token may come from a subscription of an earlier call
			err = cy.endError(subs)
		case <-cy.stopping.Done():
		}
	}
	if temporary(err) {
		cy.enter(Starting, err)
	} else if err != nil {
		cy.enter(Stopping, err)
	}
	cutOff = cy.drain(subs)
	for _, s := range subs { // a subscription can end with an error during the drain
		if err == nil {
			err = s.Err()
		}
	}
	return err, cutOff
}

// open makes the subscriptions. If one fails, it returns the error and those before it.
func (cy *cycle) open() ([]*bus.Subscription, error) {
	c := cy.c
	c.mu.Lock()
	clear(cy.assignments)
	c.mu.Unlock()
	subs := make([]*bus.Subscription, 0, c.stages())
	for stage := range c.stages() {
		opts := append(c.subscribeOptions(stage), delivery.WithHooks(&observer{cy, stage}))
		var sub *bus.Subscription
		var err error
		if c.batch != nil {
			sub, err = c.bus.ConsumeBatches(context.Background(), c.topicOf(stage), c.batchHandler(stage), opts...)
		} else {
			sub, err = c.bus.Consume(context.Background(), c.topicOf(stage), c.messageHandler(stage), opts...)
		}
		if err != nil {
			return subs, err
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

func (cy *cycle) setSubscriptions(subs []*bus.Subscription) {
	cy.c.mu.Lock()
	defer cy.c.mu.Unlock()
	cy.subs = subs
}

// endError returns the error of a subscription that has ended, nil if none has.
func (cy *cycle) endError(subs []*bus.Subscription) error {
	for _, s := range subs {
		select {
		case <-s.Done():
		default:
			continue
		}
		if err := s.Err(); err != nil {
			return err
		}
		return cy.c.newError(bus.CodeClosed, "consume", "the bus was closed", nil)
	}
	return nil
}

// drain closes the subscriptions concurrently, and returns when no handler runs. It returns an
// error if handlers were cut off.
func (cy *cycle) drain(subs []*bus.Subscription) error {
	ctx, cancel := context.WithTimeout(cy.aborting, cy.c.cfg.drainTimeout)
	defer cancel()
	errs := make([]error, len(subs))
	var closing sync.WaitGroup
	for i, s := range subs {
		closing.Go(func() {
			errs[i] = s.Shutdown(ctx)
			<-s.Done()
		})
	}
	closing.Wait()
	if err := errors.Join(errs...); err != nil {
		return cy.c.newError(bus.CodeDeadlineExceeded, "stop", "handlers were cut off; their messages will be delivered again", err)
	}
	return nil
}

// enter enters a state, unless Stop or Shutdown was called: they have set the state then.
func (cy *cycle) enter(s State, cause error) {
	c := cy.c
	c.mu.Lock()
	if cy.current() {
		c.history.enter(s, cause)
	}
	c.mu.Unlock()
	c.updateProbe()
}

// current reports whether neither Stop nor Shutdown was called during the cycle. It must be
// called with Consumer.mu held.
func (cy *cycle) current() bool { return cy.c.cycle == cy && cy.c.request == cy.request }

// checkConnection sets the cause of Starting if the connection of the bus is lost or rejected.
func (cy *cycle) checkConnection() {
	c := cy.c
	err := c.connectionError()
	if err == nil {
		return
	}
	c.mu.Lock()
	if cy.current() && c.history.current().State == Starting {
		c.history.enter(Starting, err)
	}
	c.mu.Unlock()
	c.updateProbe()
}

// state returns Consuming if every subscription is assigned, and otherwise Starting with the
// cause. It must be called with Consumer.mu held.
func (cy *cycle) state() (State, error) {
	for _, a := range cy.assignments {
		if !a.assigned {
			return Starting, a.cause
		}
	}
	return Consuming, nil
}

// observer gets the events of the subscription of one stage.
type observer struct {
	cycle *cycle
	stage int
}

var (
	_ hook.Session    = (*observer)(nil)
	_ hook.Connection = (*observer)(nil)
	_ hook.DeadLetter = (*observer)(nil)
)

// OnSession implements hook.Session.
func (o *observer) OnSession(e hook.SessionEvent) {
	cy, c := o.cycle, o.cycle.c
	c.mu.Lock()
	cy.assignments[o.stage] = assignment{e.Assigned, e.Cause}
	if e.Ended { // subscribe decides what follows
		c.mu.Unlock()
		return
	}
	if cy.current() && c.history.current().State != Stopping { // Stopping: another subscription has failed
		c.history.enter(cy.state())
	}
	c.mu.Unlock()
	c.updateProbe()
}

// OnConnection implements hook.Connection. The connection reports the cause of Starting sooner
// than the subscription does.
func (o *observer) OnConnection(driver.Connection) { o.cycle.checkConnection() }

// OnDeadLetter implements hook.DeadLetter.
func (o *observer) OnDeadLetter(e hook.DeadLetterEvent) {
	if e.Err == nil {
		o.cycle.c.counters.deadLettered.Add(1)
	}
}

// temporary reports whether a new subscription can succeed after err.
func temporary(err error) bool {
	return driver.Temporary(err) || bus.CodeOf(err) == bus.CodeRevoked
}

// stableAfter is how long subscriptions must last before the back-off starts anew.
const stableAfter = time.Minute

// backoff is exponential with jitter. Each pause is between half of bound and bound, and bound
// doubles after each pause.
type backoff struct{ bound time.Duration }

func newBackoff() *backoff { return &backoff{200 * time.Millisecond} }

func (b *backoff) next() time.Duration {
	d := b.bound/2 + rand.N(b.bound/2+1)
	b.bound = min(b.bound*2, 32*time.Second)
	return d
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
