package bus

import (
	"context"
	"errors"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Subscription delivers the messages of one topic to a handler. All methods are safe for
// concurrent use.
type Subscription struct {
	bus       *Bus
	topic     string
	settings  *delivery.Settings
	observers delivery.Observers
	engine    *delivery.Engine
	session   driver.Session
	ended     func()        // called by run before done is closed; may be nil
	done      chan struct{} // closed at the end of run

	// reporting is held while a change of the state is made and reported to the session hooks, so
	// that a hook gets the changes in order. It comes before mu.
	reporting   sync.Mutex
	reportedEnd bool

	mu       sync.Mutex
	assigned bool
	changed  chan struct{} // closed and replaced at each change of assigned
	cause    error         // why there is no assignment
	err      error         // why the subscription ended; set before done is closed
}

func newSubscription(ctx context.Context, b *Bus, cfg delivery.Config, ended func()) *Subscription {
	return &Subscription{bus: b, topic: cfg.Topic, settings: cfg.Settings, observers: cfg.Observers, engine: delivery.New(ctx, cfg), ended: ended,
		done: make(chan struct{}), changed: make(chan struct{})}
}

// open makes the session and starts the goroutine of the subscription. If the bus is configured
// to create missing topics, that goroutine creates the topic and makes the session, because open
// must not wait for a broker.
func (s *Subscription) open(ctx context.Context) error {
	if s.bus.cfg.create == nil {
		if err := s.subscribe(ctx); err != nil {
			s.engine.Stop(err)
			return err
		}
	}
	if err := s.bus.start(s); err != nil {
		s.engine.Stop(err)
		if s.session != nil {
			_ = s.session.Close(ctx) // nothing was fetched; the error to return is that of start
		}
		return err
	}
	return nil
}

func (s *Subscription) subscribe(ctx context.Context) error {
	session, err := s.bus.t.Subscribe(ctx, driver.Subscription{Topic: s.topic, Group: s.settings.Group, Start: *s.settings.Start,
		Partitions: s.settings.Partitions, MaxFetch: s.settings.MaxFetch()})
	s.session = session
	return err
}

// Topic returns the topic.
func (s *Subscription) Topic() string { return s.topic }

// Group returns the consumer group, "" for none.
func (s *Subscription) Group() string { return s.settings.Group }

// Done returns a channel that is closed when the subscription has ended and no handler runs any
// more. Err then returns the reason.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err returns why the subscription ended. It returns nil until Done is closed, and after a
// graceful end.
func (s *Subscription) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Assigned reports whether the subscription has an assignment now. If it has none, the error
// says why, as far as that is known.
func (s *Subscription) Assigned() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.assigned, s.cause
}

// Ready waits until the subscription has an assignment and the start offset of each partition is
// known: it gets everything that is published after Ready returned nil. Ready returns an error if
// the subscription has ended, if the broker rejects the credentials or denies permission, or if ctx
// ends first; the error says why the subscription is not ready. If the broker rejects the
// credentials, the subscription tries again slowly.
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

// Close is Shutdown, bounded by the close time-out of the bus.
func (s *Subscription) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.bus.cfg.closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// Shutdown ends the subscription gracefully: it fetches nothing new, waits for the handlers
// that run, commits what they acknowledge, and leaves the group. The next owner of the partition
// gets the messages that were fetched and whose handler has not begun.
//
// Shortly before the deadline of ctx, or when ctx is canceled, Shutdown ends the contexts of the
// handlers that still run. "Shortly" is a quarter of the remaining time, but at most a second.
// Shutdown then waits until ctx ends, at most, and returns an error even if all handlers return in
// time. If a handler runs longer, Done is closed when it returns. Shutdown is idempotent.
func (s *Subscription) Shutdown(ctx context.Context) error {
	s.engine.Drain()
	select {
	case <-s.done:
		return nil // the subscription has ended: return nil even if ctx has ended, too
	default:
	}
	soft, cancel := delivery.Reserve(ctx)
	defer cancel()
	select {
	case <-s.done:
		return nil
	case <-soft.Done():
	}
	s.engine.Stop(&Error{Code: CodeDeadlineExceeded, Op: "close", Topic: s.topic, Reason: "the shutdown ran out of time"})
	select {
	case <-s.done:
		return s.cutOff(nil)
	case <-ctx.Done():
		return s.cutOff(ctx.Err())
	}
}

// cutOff returns the error of a Shutdown that ended the contexts of handlers. err is the error of
// ctx if handlers still run, otherwise nil.
func (s *Subscription) cutOff(err error) error {
	e := &Error{Code: CodeDeadlineExceeded, Op: "close", Transport: s.bus.caps.Name, Topic: s.topic,
		Reason: "the shutdown ended the contexts of handlers: their messages may be delivered again", Err: err}
	if err != nil {
		e.Code, e.Reason = driver.ContextCode(err), "handlers still run: their messages may be delivered again"
	}
	return e
}

// run is the goroutine of the subscription. It follows the assignment, starts a goroutine for
// each partition, and waits for all of them at the end.
func (s *Subscription) run() {
	var claims sync.WaitGroup
	err := s.follow(&claims)
	s.engine.Drain()
	claims.Wait()
	if _, stopped := errors.AsType[*delivery.Control](context.Cause(s.engine.Context())); stopped && err == nil {
		err = s.why(nil) // a handler returned Stop during the drain
	}
	if s.session != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.engine.Context()), s.bus.cfg.closeTimeout)
		err = errors.Join(err, s.session.Close(ctx))
		cancel()
	}
	s.engine.Stop(context.Canceled)
	s.reporting.Lock()
	s.mu.Lock()
	s.err = err
	s.assigned = false
	s.mu.Unlock()
	s.bus.remove(s)
	s.reportedEnd = true
	s.observers.OnSession(hook.SessionEvent{Transport: s.bus.caps.Name, Subscription: s, Ended: true, Cause: err})
	s.reporting.Unlock()
	if s.ended != nil {
		s.ended()
	}
	close(s.done)
}

// follow starts a goroutine for each partition that is assigned, until the subscription ends. It
// returns why the subscription ended; nil for a shutdown.
func (s *Subscription) follow(claims *sync.WaitGroup) error {
	if s.session == nil { // open left it to this goroutine
		if err := s.createThenSubscribe(); err != nil {
			return s.why(err)
		}
	}
	for {
		event, err := s.session.Next(s.engine.Fetching())
		if err != nil {
			return s.why(err)
		}
		for _, p := range event.Added {
			claims.Go(func() { s.engine.Run(p) })
		}
		s.setAssigned(event.Assigned, event.Cause)
	}
}

// createThenSubscribe creates the topic and subscribes. It repeats the creation after a temporary
// error.
func (s *Subscription) createThenSubscribe() error {
	for pause := delivery.NewBackoff(s.settings.MinBackoff, s.settings.MaxBackoff); ; {
		ctx, cancel := context.WithTimeout(s.engine.Fetching(), s.bus.cfg.deliveryTimeout)
		err := s.bus.create(ctx, s.topic)
		cancel()
		if err == nil {
			return s.subscribe(s.engine.Fetching())
		}
		if !driver.Temporary(err) {
			return err
		}
		s.setAssigned(false, err)
		if !pause.Wait(s.engine.Fetching()) {
			return context.Cause(s.engine.Fetching())
		}
	}
}

// why turns the error of Next into the error of the subscription.
func (s *Subscription) why(err error) error {
	if cause := context.Cause(s.engine.Context()); cause != nil {
		if _, ok := errors.AsType[*delivery.Control](cause); ok {
			return &Error{Code: CodeCanceled, Op: "consume", Transport: s.bus.caps.Name, Topic: s.topic, Reason: "the handler returned Stop", Err: cause}
		}
		if e, ok := errors.AsType[*Error](cause); ok {
			return e
		}
		return &Error{Code: driver.ContextCode(cause), Op: "consume", Transport: s.bus.caps.Name, Topic: s.topic, Reason: "its context ended", Err: cause}
	}
	if s.engine.Fetching().Err() != nil {
		return nil // shut down
	}
	return err
}

func (s *Subscription) setAssigned(assigned bool, cause error) {
	if assigned {
		cause = nil
	}
	s.reporting.Lock()
	defer s.reporting.Unlock()
	s.mu.Lock()
	same := s.assigned == assigned && (cause == nil) == (s.cause == nil) && CodeOf(cause) == CodeOf(s.cause)
	s.assigned, s.cause = assigned, cause
	if !same {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	s.mu.Unlock()
	if !same {
		if cause != nil {
			s.bus.cfg.logger.Warn("the subscription has no assignment", "transport", s.bus.caps.Name, "topic", s.topic, "group", s.settings.Group, "error", cause)
		}
		s.observers.OnSession(hook.SessionEvent{Transport: s.bus.caps.Name, Subscription: s, Assigned: assigned, Cause: cause})
	}
}

// reportState calls a hook that was added with the current state, unless the subscription has
// reported its end.
func (s *Subscription) reportState(h hook.Session) {
	s.reporting.Lock()
	defer s.reporting.Unlock()
	if s.reportedEnd {
		return
	}
	if assigned, cause := s.Assigned(); assigned || cause != nil {
		h.OnSession(hook.SessionEvent{Transport: s.bus.caps.Name, Subscription: s, Assigned: assigned, Cause: cause})
	}
}
