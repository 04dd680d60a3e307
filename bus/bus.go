package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Bus publishes and consumes over one transport. It is a watermill Publisher and Subscriber.
// All methods are safe for concurrent use.
type Bus struct {
	t      driver.Transport
	admin  driver.Admin // nil where topics need no creation
	caps   Capabilities
	cfg    config
	calls  *calls // the calls that use the transport
	known  topics
	expiry expiry
	hooks  atomic.Pointer[delivery.Hooks] // the hooks of WithHooks and of AddHook

	publications      sync.Pool // of *publication
	asyncPublications sync.Pool // of *asyncPublication

	attached attachments

	observing sync.Mutex // held while connection hooks are called, so that calls do not overlap

	mu         sync.Mutex
	subs       map[*Subscription]struct{}
	added      []*addedHook
	closing    bool
	connection driver.Connection
	closed     chan struct{} // closed when the first Shutdown is done
	closeErr   error         // set before closed is closed
}

var (
	_ message.Publisher            = (*Bus)(nil)
	_ message.Subscriber           = (*Bus)(nil)
	_ message.SubscribeInitializer = (*Bus)(nil)
)

// New returns a bus over t. The bus owns t from then on, unless New fails. New does not wait
// for a broker; Ready does.
func New(t driver.Transport, opts ...Option) (*Bus, error) {
	if t == nil {
		return nil, delivery.Invalid("the transport is nil")
	}
	b := &Bus{t: t, caps: t.Capabilities(), cfg: defaults(), calls: newCalls(), subs: map[*Subscription]struct{}{}, closed: make(chan struct{})}
	for _, o := range opts {
		if err := o(&b.cfg); err != nil {
			return nil, err
		}
	}
	b.rebuildHooks() // nothing else uses b yet
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
			return nil, &Error{Code: CodeInternal, Op: "open", Transport: b.caps.Name, Reason: "the transport has topics that must be created, but does not implement driver.Admin"}
		}
		b.admin = admin
	}
	t.Observe(b.observe)
	return b, nil
}

// observe records the state of the connection, logs the change, and calls the hooks. The
// transport calls it with every change.
func (b *Bus) observe(c driver.Connection) {
	b.observing.Lock()
	defer b.observing.Unlock()
	b.mu.Lock()
	before := b.connection
	b.connection = c
	subs := make([]*Subscription, 0, len(b.subs))
	for s := range b.subs {
		if len(s.settings.Hooks.Connection) > 0 {
			subs = append(subs, s)
		}
	}
	b.mu.Unlock()
	b.logConnection(before, c)
	b.hooks.Load().OnConnection(c)
	for _, s := range subs {
		s.settings.Hooks.OnConnection(c)
	}
}

// logConnection logs that the connection was lost, rejected or restored.
func (b *Bus) logConnection(before, now driver.Connection) {
	if now.State == before.State {
		return
	}
	switch now.State {
	case driver.Disconnected:
		b.cfg.logger.Warn("connection to the broker lost: connecting again", "transport", b.caps.Name, "error", now.Cause)
	case driver.Refused:
		b.cfg.logger.Warn("the broker rejects the credentials: trying again slowly", "transport", b.caps.Name, "error", now.Cause)
	case driver.Connected:
		if before.State != driver.Connecting {
			b.cfg.logger.Info("connection to the broker restored", "transport", b.caps.Name)
		}
	}
}

// Capabilities returns what the transport supports.
func (b *Bus) Capabilities() Capabilities { return b.caps }

// Connection returns the last known state of the connection to the broker.
func (b *Bus) Connection() driver.Connection {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connection
}

// Ready waits until the broker answers. If ctx ends first, the error says why the broker is
// not available. If the broker rejects the credentials, Ready returns that error at once. Ready
// does not wait for subscriptions: each has a Ready method.
func (b *Bus) Ready(ctx context.Context) error {
	if err := b.enter("wait for the broker", ""); err != nil {
		return err
	}
	defer b.calls.leave()
	return b.t.Ready(ctx)
}

// Ping makes a round trip to the broker, and returns nil if and only if that succeeded. The
// error has CodeUnsupported if the transport has no way to reach its broker on request.
func (b *Bus) Ping(ctx context.Context) error {
	if err := b.enter("ping", ""); err != nil {
		return err
	}
	defer b.calls.leave()
	return b.t.Ping(ctx)
}

// Close is Shutdown, bounded by the close time-out. See [WithCloseTimeout].
func (b *Bus) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.closeTimeout)
	defer cancel()
	return b.Shutdown(ctx)
}

// Shutdown closes the bus gracefully. First it shuts down all subscriptions: they fetch nothing
// new, wait for the handlers that run, and commit what those handlers acknowledge. Handlers may
// publish until the last one has returned. From then on every call returns an error with
// CodeClosed. Shutdown closes the transport, and waits for the calls that are in progress.
//
// If ctx ends first, Shutdown stops waiting and returns an error. Messages that are not
// acknowledged are delivered again if the transport supports it. Shutdown is idempotent:
// later calls wait for the first one and return its result, or the error of their context.
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
		}
		select {
		case <-b.closed: // both, and select picked the other
			return b.closeErr
		default:
			return &Error{Code: driver.ContextCode(ctx.Err()), Op: "close", Transport: b.caps.Name, Reason: "an earlier Shutdown is still draining", Err: ctx.Err()}
		}
	}
	b.closeErr = b.shutdown(ctx, subs)
	close(b.closed)
	return b.closeErr
}

func (b *Bus) shutdown(ctx context.Context, subs []*Subscription) error {
	errs := make([]error, len(subs), len(subs)+2)
	draining, cancel := delivery.Reserve(ctx) // the transport needs time to flush
	defer cancel()
	var drained sync.WaitGroup
	for i, s := range subs {
		drained.Go(func() { errs[i] = s.Shutdown(draining) })
	}
	drained.Wait()
	b.calls.stop()
	// Close the transport before waiting for the calls: Close ends the calls that wait for
	// space. The only consumer that could make space may be on another bus.
	if err := b.t.Close(ctx); err != nil {
		errs = append(errs, fmt.Errorf("close the transport: %w", err))
	}
	if err := b.calls.wait(ctx); err != nil {
		errs = append(errs, &Error{Code: driver.ContextCode(err), Op: "close", Transport: b.caps.Name, Reason: "publishing is still in progress", Err: err})
	} else {
		b.expiry.stop()
	}
	return errors.Join(errs...)
}

// enter begins a call that uses the transport. It returns an error if the bus is closed, or if a
// publish or subscribe has an empty topic. Otherwise the caller must call b.calls.leave. During a
// drain enter still succeeds, because handlers may publish.
func (b *Bus) enter(op, topic string) error {
	if topic == "" && (op == "publish" || op == "subscribe") {
		return &Error{Code: CodeInvalidArgument, Op: op, Transport: b.caps.Name, Reason: "the name of the topic is empty"}
	}
	if !b.calls.enter() {
		return &Error{Code: CodeClosed, Op: op, Transport: b.caps.Name, Topic: topic, Reason: "the bus is closed"}
	}
	return nil
}

// start starts the subscription, unless the bus is being closed.
func (b *Bus) start(s *Subscription) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return &Error{Code: CodeClosed, Op: "subscribe", Transport: b.caps.Name, Topic: s.topic, Reason: "the bus is being closed"}
	}
	b.subs[s] = struct{}{}
	go s.run() // Subscription.Shutdown waits for it
	return nil
}

// remove removes a subscription that has ended.
func (b *Bus) remove(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s)
}
