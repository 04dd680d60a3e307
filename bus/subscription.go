package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Subscription is a handler's reading of one topic. All methods are safe for
// concurrent use.
type Subscription struct {
	bus     *Bus
	topic   string
	handler Handler
	batch   BatchHandler // instead of handler; nil for messages one by one
	acks    bool         // somebody waits for a message's Ack or Nack
	cfg     *subscribeConfig
	slots   chan struct{} // Concurrency; nil for no bound
	// inFlight is InFlight; nil for no bound.
	inFlight *room
	session  driver.Session
	maxFetch int // how many records a Fetch returns at the most

	// ctx ends with the caller's, with Stop, and when a drain runs out of time. Every
	// handler's context ends with it.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// draining is closed when no more is to be handed out.
	draining  chan struct{}
	drainOnce sync.Once
	// fetching ends when draining or ctx does.
	fetching     context.Context
	stopFetching context.CancelCauseFunc
	ended        func()        // called by run before done is closed; may be nil
	done         chan struct{} // closed by run, last of all

	mu       sync.Mutex
	assigned bool
	changed  chan struct{} // closed and replaced at each change of assigned
	cause    error         // why it is not assigned
	err      error         // why it ended; set before done is closed
	held     map[*claim]int64
}

func newSubscription(ctx context.Context, b *Bus, topic string, cfg *subscribeConfig) *Subscription {
	s := &Subscription{bus: b, topic: topic, cfg: cfg,
		maxFetch: min(cfg.window+cfg.ahead, 512), draining: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{})}
	if cfg.concurrency > 0 {
		s.slots = make(chan struct{}, cfg.concurrency)
	}
	if cfg.inFlight > 0 {
		s.inFlight = newRoom(cfg.inFlight)
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.fetching, s.stopFetching = context.WithCancelCause(s.ctx)
	return s
}

// open makes the session and starts the subscription's goroutine. Missing topics
// that are to be created are created by that goroutine: an absent broker must not
// hold up the caller.
func (s *Subscription) open(ctx context.Context) error {
	if s.bus.cfg.create == nil {
		if err := s.subscribe(ctx); err != nil {
			s.cancel(err)
			return err
		}
	}
	if err := s.bus.keep(s); err != nil {
		s.cancel(err)
		if s.session != nil {
			_ = s.session.Close(ctx) // nothing was read; the caller is told that the bus is closed
		}
		return err
	}
	return nil
}

func (s *Subscription) subscribe(ctx context.Context) error {
	session, err := s.bus.t.Subscribe(ctx, driver.Subscription{Topic: s.topic, Group: s.cfg.group, Start: *s.cfg.start,
		Partitions: s.cfg.partitions, MaxFetch: s.maxFetch})
	s.session = session
	return err
}

// Topic returns the topic it reads.
func (s *Subscription) Topic() string { return s.topic }

// Group returns its consumer group, "" for none.
func (s *Subscription) Group() string { return s.cfg.group }

// Done is closed when the subscription has ended: no handler runs any more, and
// Err says why.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err returns nil while the subscription lives and after a Close that drained it;
// otherwise why it ended.
func (s *Subscription) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Assigned says whether it holds an assignment now, and if not, why, as far as that
// is known.
func (s *Subscription) Assigned() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.assigned, s.cause
}

// Ready waits until the subscription is assigned and positioned: what is published
// after it returned nil is seen. It fails with why the subscription ended, at once
// when the broker refuses the credentials, which are tried again slowly, or when ctx
// ends with why it is not ready yet.
func (s *Subscription) Ready(ctx context.Context) error {
	for {
		s.mu.Lock()
		assigned, changed, cause := s.assigned, s.changed, s.cause
		s.mu.Unlock()
		select {
		case <-s.done:
			return s.whyEnded()
		default:
		}
		if assigned {
			return nil
		}
		if code := CodeOf(cause); cause != nil && (code == CodeUnauthenticated || code == CodePermissionDenied) {
			return &Error{Code: code, Op: "wait for the subscription", Transport: s.bus.caps.Name, Topic: s.topic, Err: cause}
		}
		select {
		case <-changed:
		case <-s.done:
		case <-ctx.Done():
			return &Error{Code: driver.ContextCode(ctx.Err()), Op: "wait for the subscription", Transport: s.bus.caps.Name, Topic: s.topic,
				Reason: "it is not assigned yet", Err: errors.Join(ctx.Err(), cause)}
		}
	}
}

func (s *Subscription) whyEnded() error {
	if s.err != nil {
		return s.err
	}
	return &Error{Code: CodeClosed, Op: "wait for the subscription", Topic: s.topic, Reason: "it was closed"}
}

// Close drains: it takes nothing new, waits for the handlers that run, commits what
// they acknowledged, and leaves. Shortly before ctx's deadline (a quarter of the time,
// at most a second) and when ctx is cancelled the handlers' contexts end too; when ctx
// ends and they have still not returned Close fails, and Done tells when the last of
// them has. Messages that were fetched and not begun are delivered again, to whoever
// has the partition next. It is idempotent.
func (s *Subscription) Close(ctx context.Context) error {
	s.drain()
	select {
	case <-s.done:
		return nil // whatever ctx says: it has ended
	default:
	}
	soft, cancel := before(ctx)
	defer cancel()
	select {
	case <-s.done:
		return nil
	case <-soft.Done():
	}
	s.cancel(&Error{Code: CodeDeadlineExceeded, Op: "close", Topic: s.topic, Reason: "the drain ran out of time"})
	select {
	case <-s.done:
		return s.cutOff(nil)
	case <-ctx.Done():
		return s.cutOff(ctx.Err())
	}
}

// cutOff says that handlers were not let finish.
func (s *Subscription) cutOff(err error) error {
	e := &Error{Code: CodeDeadlineExceeded, Op: "close", Transport: s.bus.caps.Name, Topic: s.topic,
		Reason: "handlers were cut off: messages will be delivered again", Err: err}
	if err != nil {
		e.Code, e.Reason = driver.ContextCode(err), "handlers still run: their messages will be delivered again"
	}
	return e
}

// before returns a context that ends before ctx does, so that there is time for what
// follows: a quarter of what is left, at most a second.
func before(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Second, max(0, time.Until(deadline))/4)))
}

func (s *Subscription) drain() {
	s.drainOnce.Do(func() {
		close(s.draining)
		s.stopFetching(errDraining)
	})
}

var errDraining = &Error{Code: CodeClosed, Op: "fetch", Reason: "the subscription is being closed"}

// run is the subscription's goroutine: it follows the assignment, gives each claim
// a goroutine of its own, and waits for all of them.
func (s *Subscription) run() {
	var claims sync.WaitGroup
	err := s.follow(&claims)
	s.stopFetching(errDraining)
	claims.Wait()
	if _, stopped := controlOf(context.Cause(s.ctx)); stopped && err == nil {
		err = s.why(nil) // by a handler that ended while it was being drained
	}
	if s.session != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.bus.cfg.closeTimeout)
		err = errors.Join(err, s.session.Close(ctx))
		cancel()
	}
	s.cancel(context.Canceled)
	s.mu.Lock()
	s.err = err
	s.assigned = false
	s.mu.Unlock()
	s.bus.forget(s)
	s.cfg.hooks.onSession(SessionEvent{Transport: s.bus.caps.Name, Subscription: s, Ended: true, Cause: err})
	if s.ended != nil {
		s.ended()
	}
	close(s.done)
}

// follow returns why the subscription is to end; nil for a drain.
func (s *Subscription) follow(claims *sync.WaitGroup) error {
	if s.session == nil { // the topic may have to be created first
		if err := s.createThenSubscribe(); err != nil {
			return s.why(err)
		}
	}
	for {
		event, err := s.session.Next(s.fetching)
		if err != nil {
			return s.why(err)
		}
		for _, p := range event.Added {
			claims.Go(func() { newClaim(s, p).run() })
		}
		s.setAssigned(event.Assigned, event.Cause)
	}
}

// createThenSubscribe tries again until the topic is there.
func (s *Subscription) createThenSubscribe() error {
	for pause := newBackoff(s.cfg.minBackoff, s.cfg.maxBackoff); ; {
		ctx, cancel := context.WithTimeout(s.fetching, s.bus.cfg.deliveryTimeout)
		err := s.bus.create(ctx, s.topic)
		cancel()
		if err == nil {
			return s.subscribe(s.fetching)
		}
		if !temporary(err) {
			return err
		}
		s.setAssigned(false, err)
		if !pause.wait(s.fetching) {
			return context.Cause(s.fetching)
		}
	}
}

// temporary says whether trying again can help. nil is not temporary.
func temporary(err error) bool {
	if err == nil {
		return false
	}
	switch CodeOf(err) {
	case CodeUnavailable, CodeDeadlineExceeded, CodeOutcomeUnknown, CodeResourceExhausted:
		return true
	default:
		return false
	}
}

// why turns the error that ended Next into the reason the user is given.
func (s *Subscription) why(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		if _, ok := controlOf(cause); ok {
			return &Error{Code: CodeCanceled, Op: "consume", Transport: s.bus.caps.Name, Topic: s.topic, Reason: "the handler stopped it", Err: cause}
		}
		if e, ok := errors.AsType[*Error](cause); ok {
			return e
		}
		return &Error{Code: driver.ContextCode(cause), Op: "consume", Transport: s.bus.caps.Name, Topic: s.topic, Reason: "its context ended", Err: cause}
	}
	if s.fetching.Err() != nil {
		return nil // drained
	}
	return err
}

func (s *Subscription) setAssigned(assigned bool, cause error) {
	if assigned {
		cause = nil
	}
	s.mu.Lock()
	same := s.assigned == assigned && (cause == nil) == (s.cause == nil) && CodeOf(cause) == CodeOf(s.cause)
	s.assigned, s.cause = assigned, cause
	if !same {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	s.mu.Unlock()
	if !same {
		s.cfg.hooks.onSession(SessionEvent{Transport: s.bus.caps.Name, Subscription: s, Assigned: assigned, Cause: cause})
	}
}
