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

// run is one period from a start to a stop: the subscriptions, and what they need. Its
// goroutine is the consumer's, in own.
type run struct {
	c    *Consumer
	wish uint64 // the number of the Start that it obeys

	// stopping ends when the run is to stop, cutting when handlers are to be cut off.
	stopping context.Context
	stop     context.CancelFunc
	cutting  context.Context
	cut      context.CancelFunc
	done     chan struct{} // closed when no handler runs any more

	gone chan struct{} // holds one token when a subscription may have ended

	// Guarded by Consumer.mu.
	subs  []*bus.Subscription // those that were begun last
	parts []part              // what is known of each topic's subscription
}

// part is what a run knows of one of its subscriptions.
type part struct {
	assigned bool
	cause    error
}

func newRun(c *Consumer, wish uint64) *run {
	r := &run{c: c, wish: wish, done: make(chan struct{}), gone: make(chan struct{}, 1), parts: make([]part, 1+len(c.cfg.delays))}
	r.stopping, r.stop = context.WithCancel(context.Background())
	r.cutting, r.cut = context.WithCancel(context.Background())
	return r
}

// consume keeps subscriptions until the run is to stop, and begins others when those
// ended with something that passes. It returns when no handler runs any more. err is why
// it ended by itself, cutOff why handlers were not let finish.
func (r *run) consume() (err, cutOff error) {
	defer r.stop()
	defer r.cut()
	var watching sync.WaitGroup
	defer watching.Wait()
	if w := r.c.cfg.while; w != nil {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.c.gate.ready(w.allows(w.registry.Snapshot()))
		watching.Go(func() {
			for s := range w.registry.Watch(ctx) {
				r.c.gate.ready(w.allows(s))
			}
		})
	}
	for pause := newBackoff(); ; {
		begun := time.Now()
		err, cutOff = r.subscribe()
		if r.stopping.Err() != nil || !temporary(err) {
			return err, cutOff
		}
		if time.Since(begun) > longEnough {
			pause = newBackoff()
		}
		if !sleep(r.stopping, pause.next()) {
			return nil, cutOff
		}
	}
}

// subscribe subscribes to every topic, and drains when the run is to stop or one of the
// subscriptions has ended, whose error it returns.
func (r *run) subscribe() (err, cutOff error) {
	subs, err := r.open()
	r.hold(subs)
	r.troubled() // which nobody may have told yet
	defer r.hold(nil)
	var watching sync.WaitGroup
	defer watching.Wait()
	for _, s := range subs {
		watching.Go(func() {
			<-s.Done()
			select {
			case r.gone <- struct{}{}:
			default:
			}
		})
	}
	for err == nil && r.stopping.Err() == nil {
		select {
		case <-r.gone:
			err = r.first(subs)
		case <-r.stopping.Done():
		}
	}
	if temporary(err) {
		r.enter(Starting, err)
	} else if err != nil {
		r.enter(Stopping, err)
	}
	cutOff = r.drain(subs)
	for _, s := range subs { // one may have ended by itself meanwhile
		if err == nil {
			err = s.Err()
		}
	}
	return err, cutOff
}

// open subscribes to the topic and its retry topics.
func (r *run) open() ([]*bus.Subscription, error) {
	c := r.c
	c.mu.Lock()
	clear(r.parts)
	c.mu.Unlock()
	subs := make([]*bus.Subscription, 0, 1+len(c.cfg.delays))
	for hop := range 1 + len(c.cfg.delays) {
		opts := append(c.subscribeOptions(hop), delivery.WithHooks(&observer{r, hop}))
		var sub *bus.Subscription
		var err error
		if c.batch != nil {
			sub, err = c.bus.ConsumeBatches(context.Background(), c.topicOf(hop), c.batchHandler(hop), opts...)
		} else {
			sub, err = c.bus.Consume(context.Background(), c.topicOf(hop), c.oneHandler(hop), opts...)
		}
		if err != nil {
			return subs, err
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

func (r *run) hold(subs []*bus.Subscription) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.subs = subs
}

// first returns why one of the subscriptions has ended, nil if none has.
func (r *run) first(subs []*bus.Subscription) error {
	for _, s := range subs {
		select {
		case <-s.Done():
		default:
			continue
		}
		if err := s.Err(); err != nil {
			return err
		}
		return r.c.fail(bus.CodeClosed, "consume", "the bus was closed", nil)
	}
	return nil
}

// drain closes the subscriptions side by side, and returns when no handler runs.
func (r *run) drain(subs []*bus.Subscription) error {
	ctx, cancel := context.WithTimeout(r.cutting, r.c.cfg.drainTimeout)
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
		return r.c.fail(bus.CodeDeadlineExceeded, "stop", "handlers were cut off: their messages will be delivered again", err)
	}
	return nil
}

// enter begins a state, unless the run was told to stop, which says more.
func (r *run) enter(s State, cause error) {
	c := r.c
	c.mu.Lock()
	if r.wanted() {
		c.history.enter(s, cause)
	}
	c.mu.Unlock()
	c.report()
}

// wanted is called with Consumer.mu held.
func (r *run) wanted() bool { return r.c.run == r && r.c.wish == r.wish }

// observer is told of one of the run's subscriptions.
type observer struct {
	run *run
	hop int
}

var (
	_ hook.Session    = (*observer)(nil)
	_ hook.Connection = (*observer)(nil)
	_ hook.DeadLetter = (*observer)(nil)
)

// OnSession follows the assignment: the run is Consuming while every topic is assigned.
func (o *observer) OnSession(e hook.SessionEvent) {
	r, c := o.run, o.run.c
	c.mu.Lock()
	r.parts[o.hop] = part{e.Assigned, e.Cause}
	if e.Ended { // subscribe says what comes of it
		c.mu.Unlock()
		return
	}
	if r.wanted() && c.history.now().State != Stopping { // it may be stopping by itself
		c.history.enter(r.state())
	}
	c.mu.Unlock()
	c.report()
}

// OnConnection says why the run is not consuming yet, before the subscription knows.
func (o *observer) OnConnection(driver.Connection) { o.run.troubled() }

func (r *run) troubled() {
	c := r.c
	trouble := c.trouble()
	if trouble == nil {
		return
	}
	c.mu.Lock()
	if r.wanted() && c.history.now().State == Starting {
		c.history.enter(Starting, trouble)
	}
	c.mu.Unlock()
	c.report()
}

// state is called with Consumer.mu held.
func (r *run) state() (State, error) {
	for _, p := range r.parts {
		if !p.assigned {
			return Starting, p.cause
		}
	}
	return Consuming, nil
}

// OnDeadLetter counts.
func (o *observer) OnDeadLetter(e hook.DeadLetterEvent) {
	if e.Err == nil {
		o.run.c.tally.deadLettered.Add(1)
		o.run.c.blocked.unblock(e.Record)
	}
}

// longEnough is how long subscriptions have to last for the next failure to count as the
// first one.
const longEnough = time.Minute

// temporary says whether subscribing again can help.
func temporary(err error) bool {
	if err == nil {
		return false
	}
	switch bus.CodeOf(err) {
	case bus.CodeUnavailable, bus.CodeDeadlineExceeded, bus.CodeOutcomeUnknown, bus.CodeResourceExhausted, bus.CodeRevoked:
		return true
	default:
		return false
	}
}

// backoff is exponential with jitter: each pause is between half and the whole of a bound
// that doubles.
type backoff struct{ bound time.Duration }

func newBackoff() *backoff { return &backoff{200 * time.Millisecond} }

func (b *backoff) next() time.Duration {
	d := b.bound/2 + rand.N(b.bound/2+1)
	b.bound = min(b.bound*2, 32*time.Second)
	return d
}

// sleep returns false when ctx ended first.
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
