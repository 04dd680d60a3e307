package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// Bus publishes and consumes over one transport. It is a watermill Publisher and
// Subscriber. All methods are safe for concurrent use.
type Bus struct {
	t      driver.Transport
	admin  driver.Admin // nil where topics need no making
	caps   Capabilities
	cfg    config
	gate   *gate
	known  topics
	expiry expiry

	publications      sync.Pool // of *publication
	asyncPublications sync.Pool // of *asyncPublication

	attached attachments
	added    addedHooks

	observing  sync.Mutex // held while hooks are called about the connection
	mu         sync.Mutex
	subs       map[*Subscription]struct{}
	closing    bool
	connection Connection
	closed     chan struct{} // closed when the first Shutdown is done
	closeErr   error         // set before closed is closed
}

var (
	_ message.Publisher            = (*Bus)(nil)
	_ message.Subscriber           = (*Bus)(nil)
	_ message.SubscribeInitializer = (*Bus)(nil)
)

// New makes a bus over t, and owns it from then on, unless it fails. It does not
// wait for a broker: Ready does.
func New(t driver.Transport, opts ...Option) (*Bus, error) {
	if t == nil {
		return nil, invalid("the transport is nil")
	}
	b := &Bus{t: t, caps: t.Capabilities(), cfg: defaults(), gate: newGate(), subs: map[*Subscription]struct{}{}, closed: make(chan struct{})}
	for _, o := range opts {
		if err := o(&b.cfg); err != nil {
			return nil, err
		}
	}
	b.cfg.hooks.added = &b.added
	b.expiry.timeout = b.cfg.deliveryTimeout
	if n := b.caps.MaxMessageBytes; n > 0 {
		b.cfg.maxMessageBytes = min(b.cfg.maxMessageBytes, n)
	}
	if _, err := b.resolve("", nil); err != nil { // WithSubscribeDefaults
		return nil, err
	}
	if b.caps.Topics {
		admin, ok := t.(driver.Admin)
		if !ok {
			return nil, &Error{Code: CodeInternal, Op: "open", Transport: b.caps.Name, Reason: "the transport says that topics have to be made and is no driver.Admin"}
		}
		b.admin = admin
	}
	t.Observe(b.observe)
	return b, nil
}

func (b *Bus) observe(c Connection) {
	b.observing.Lock()
	defer b.observing.Unlock()
	b.mu.Lock()
	b.connection = c
	told := make([]*Subscription, 0, len(b.subs))
	for s := range b.subs {
		if len(s.cfg.hooks.connection) > 0 {
			told = append(told, s)
		}
	}
	b.mu.Unlock()
	b.cfg.hooks.onConnection(c)
	if a := b.added.load(); a != nil {
		a.onConnection(c)
	}
	for _, s := range told {
		s.cfg.hooks.onConnection(c)
	}
}

// Capabilities says what the transport can do.
func (b *Bus) Capabilities() Capabilities { return b.caps }

// Connection returns the state of the connection to the broker, as last seen.
func (b *Bus) Connection() Connection {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connection
}

// Ready waits until the broker can be talked to, or ctx ends: then it says why not.
// It does not wait for subscriptions; they have a Ready of their own.
func (b *Bus) Ready(ctx context.Context) error {
	if err := b.enter("wait for the broker", ""); err != nil {
		return err
	}
	defer b.gate.leave()
	return b.t.Ready(ctx)
}

// Ping makes a round trip to the broker now, and returns nil if and only if that
// worked. CodeUnsupported where that can't be known.
func (b *Bus) Ping(ctx context.Context) error {
	if err := b.enter("ping", ""); err != nil {
		return err
	}
	defer b.gate.leave()
	return b.t.Ping(ctx)
}

// Close is Shutdown with the close time-out.
func (b *Bus) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.closeTimeout)
	defer cancel()
	return b.Shutdown(ctx)
}

// Shutdown drains and closes: no message is taken any more, handlers that run are
// waited for and what they acknowledged is committed. They may publish until the
// last has returned; then every call is refused with Closed, those under way end,
// and the transport is closed. When ctx ends first, what is left is cut off, and the error tells;
// unacknowledged messages are delivered again where the transport can. It is
// idempotent: later calls wait for the first and return its result, or their
// context's error.
func (b *Bus) Shutdown(ctx context.Context) error {
	b.mu.Lock()
	first := !b.closing
	b.closing = true
	subs := make([]*Subscription, 0, len(b.subs))
	for s := range b.subs {
		subs = append(subs, s)
	}
	b.mu.Unlock()
	if !first {
		select {
		case <-b.closed:
			return b.closeErr
		case <-ctx.Done():
			return &Error{Code: driver.ContextCode(ctx.Err()), Op: "close", Transport: b.caps.Name, Reason: "another Close is still draining", Err: ctx.Err()}
		}
	}
	b.closeErr = b.shutdown(ctx, subs)
	close(b.closed)
	return b.closeErr
}

func (b *Bus) shutdown(ctx context.Context, subs []*Subscription) error {
	errs := make([]error, len(subs), len(subs)+2)
	draining, cancel := before(ctx) // the transport needs time to flush, too
	defer cancel()
	var drained sync.WaitGroup
	for i, s := range subs {
		drained.Go(func() { errs[i] = s.Close(draining) })
	}
	drained.Wait()
	b.gate.shut()
	// The transport comes first: it flushes what it has, and ends publishers that wait
	// for room, which only the reading of some other bus could give them.
	if err := b.t.Close(ctx); err != nil {
		errs = append(errs, fmt.Errorf("close the transport: %w", err))
	}
	if err := b.gate.wait(ctx); err != nil {
		errs = append(errs, &Error{Code: driver.ContextCode(err), Op: "close", Transport: b.caps.Name, Reason: "publishing was still under way", Err: err})
	} else {
		b.expiry.stop()
	}
	return errors.Join(errs...)
}

// enter lets a call in, unless the bus is closed or the topic has no name. While
// it drains, handlers must still be able to publish: the gate is shut after them.
func (b *Bus) enter(op, topic string) error {
	if topic == "" && (op == "publish" || op == "subscribe") {
		return &Error{Code: CodeInvalidArgument, Op: op, Transport: b.caps.Name, Reason: "the topic's name is empty"}
	}
	if !b.gate.enter() {
		return &Error{Code: CodeClosed, Op: op, Transport: b.caps.Name, Topic: topic, Reason: "the bus is closed"}
	}
	return nil
}

// keep starts the subscription, unless the bus is being closed.
func (b *Bus) keep(s *Subscription) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return &Error{Code: CodeClosed, Op: "subscribe", Transport: b.caps.Name, Topic: s.topic, Reason: "the bus is being closed"}
	}
	b.subs[s] = struct{}{}
	go s.run() // Subscription.Close waits for it
	return nil
}

func (b *Bus) forget(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s)
}
