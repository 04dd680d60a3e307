package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// Consumer consumes a topic, and can be started, stopped, paused and watched. All
// methods are safe for concurrent use. While it is stopped it has no goroutine, no
// member in the group and nothing to be closed.
type Consumer struct {
	bus     *bus.Bus
	topic   string
	group   string
	handler bus.Handler
	batch   bus.BatchHandler // instead of handler; nil for messages one by one
	cfg     config
	handOut bool // what was fetched when it stops would be lost
	gate    *gate
	limiter *rate.Limiter // nil for no rate
	tally   tally
	blocked blocked

	reporting sync.Mutex // held while the probe registry is told

	mu      sync.Mutex
	history history
	// want is the last wish, and wish its number. Start, Stop and Close change it, and
	// so does the end of a run that nobody asked for.
	want wish
	wish uint64
	// run is what owns subscriptions and handlers, nil if and only if none are there.
	run      *run
	err      error
	closed   chan struct{} // closed in state Closed
	closeErr error         // set before closed is closed
}

type wish uint8

const (
	wantNothing wish = iota
	wantStopped
	wantStarted
	wantClosed
)

// New makes a consumer of messages one by one, in state Initialising: it does not start
// it, and asks no broker for anything. It fails with code InvalidArgument or Unsupported
// for options that make no sense or that the transport can't honour.
func New(b *bus.Bus, topic string, h bus.Handler, opts ...Option) (*Consumer, error) {
	if h == nil {
		return nil, invalid("the handler is nil")
	}
	return newConsumer(b, topic, h, nil, opts)
}

// NewBatch is New for a handler of batches; see [bus.BatchHandler] and [WithBatch].
func NewBatch(b *bus.Bus, topic string, h bus.BatchHandler, opts ...Option) (*Consumer, error) {
	if h == nil {
		return nil, invalid("the handler is nil")
	}
	return newConsumer(b, topic, nil, h, opts)
}

func newConsumer(b *bus.Bus, topic string, h bus.Handler, batch bus.BatchHandler, opts []Option) (*Consumer, error) {
	if b == nil {
		return nil, invalid("the bus is nil")
	}
	c := &Consumer{bus: b, topic: topic, handler: h, batch: batch, cfg: defaults(), gate: newGate(),
		history: newHistory(), closed: make(chan struct{})}
	for _, o := range opts {
		if err := o(&c.cfg); err != nil {
			return nil, err
		}
	}
	if err := c.resolve(); err != nil {
		return nil, err
	}
	c.register()
	return c, nil
}

// Topic returns the topic it consumes; retry topics come besides.
func (c *Consumer) Topic() string { return c.topic }

// Group returns its consumer group, "" for none.
func (c *Consumer) Group() string { return c.group }

// Start asks the consumer to consume. It returns at once: Wait tells when it does. A
// consumer that stops for an earlier Stop stops first, and then starts. Starting one that
// is started changes nothing. It fails with code Closed after Close.
func (c *Consumer) Start() error {
	c.mu.Lock()
	if c.want == wantClosed {
		c.mu.Unlock()
		return c.fail(bus.CodeClosed, "start", "the consumer is closed", nil)
	}
	if c.want != wantStarted {
		c.want, c.err = wantStarted, nil
		c.wish++
		if c.run == nil {
			go c.own(c.begin()) // StopAndWait and Close wait for it
		}
	}
	c.mu.Unlock()
	c.report()
	return nil
}

// Stop asks the consumer to stop: it takes nothing new, lets the handlers that run
// finish within the drain time-out, commits, and leaves its group. It returns at once.
// Stopping one that is stopped changes nothing. It fails with code Closed after Close,
// which stops for good.
func (c *Consumer) Stop() error {
	_, err := c.stop()
	return err
}

// stop returns what is to be waited for, nil for nothing.
func (c *Consumer) stop() (*run, error) {
	c.mu.Lock()
	defer c.report()
	defer c.mu.Unlock()
	if c.want == wantClosed {
		return c.run, c.fail(bus.CodeClosed, "stop", "the consumer is closed", nil)
	}
	if c.want != wantStopped {
		c.want = wantStopped
		c.wish++
		if c.run == nil {
			c.history.enter(Stopped, nil)
		} else {
			c.run.stop()
			c.history.enter(Stopping, nil)
		}
	}
	return c.run, nil
}

// StopAndWait stops the consumer, and returns nil when no handler runs any more. A Start
// that comes while it stops is obeyed afterwards. When ctx ends first it returns why, and
// the consumer goes on stopping. After Close it waits for the same.
func (c *Consumer) StopAndWait(ctx context.Context) error {
	r, _ := c.stop() // closed is as good as stopped, here
	if r == nil {
		return nil
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return c.ended(ctx, "stop", "handlers still run", nil)
	}
}

// Close stops the consumer for good, and returns when no handler runs any more. Shortly
// before ctx's deadline (a quarter of the time, at most a second), and when ctx is
// cancelled, handlers that run have their contexts cancelled; if ctx ends and they have
// not returned Close fails, and the consumer is Closed when the last has. nil means
// that every handler ended by itself. It is idempotent: later calls wait for the first,
// and return its result or their context's error. The bus stays open.
func (c *Consumer) Close(ctx context.Context) error {
	c.mu.Lock()
	first, r := c.want != wantClosed, c.run
	if first {
		c.want = wantClosed
		c.wish++
		if r == nil {
			c.history.enter(Closed, nil)
			close(c.closed)
		} else {
			c.history.enter(Closing, nil)
			r.stop()
		}
	}
	c.mu.Unlock()
	c.report()
	if first && r != nil {
		soft, cancel := before(ctx)
		defer cancel()
		defer context.AfterFunc(soft, r.cut)()
	}
	select {
	case <-c.closed:
		return c.closeErr
	default:
	}
	select {
	case <-c.closed:
		return c.closeErr
	case <-ctx.Done():
		if first && r != nil {
			r.cut()
		}
		return c.ended(ctx, "close", "handlers still run: their messages will be delivered again", nil)
	}
}

// Err returns why the consumer stopped by itself: a topic that is not there, an option
// that the broker refuses, a handler that returned [bus.Stop]. Start clears it; it is nil
// for a consumer that stopped because it was asked to.
func (c *Consumer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// begin makes the next run. mu is held, and there is no other.
func (c *Consumer) begin() *run {
	c.run = newRun(c, c.wish)
	c.history.enter(Starting, c.trouble())
	return c.run
}

// trouble returns what is known to be wrong with the connection, nil for nothing.
func (c *Consumer) trouble() error {
	now := c.bus.Connection()
	if now.State != driver.Disconnected && now.State != driver.Refused {
		return nil
	}
	code := bus.CodeUnavailable
	if known := bus.CodeOf(now.Cause); now.Cause != nil && known != bus.CodeUnknown {
		code = known
	}
	return c.fail(code, "consume", "the broker is "+now.State.String(), now.Cause)
}

// own is the consumer's goroutine: it is there as long as there is a run, one after the
// other.
func (c *Consumer) own(r *run) {
	for r != nil {
		err, cutOff := r.consume()
		next, over := c.after(r, err, cutOff)
		c.report() // before anybody who waits goes on
		close(r.done)
		if over {
			close(c.closed)
		}
		r = next
	}
}

// after decides what follows a run that has ended, no handler running any more. err says
// why it ended if nobody asked for it, cutOff that handlers were not let finish. over says
// that the consumer is closed.
func (c *Consumer) after(r *run, err, cutOff error) (next *run, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run = nil
	switch {
	case c.want == wantClosed:
		c.closeErr = cutOff
		c.history.enter(Closed, cutOff)
		return nil, true
	case c.wish == r.wish: // by itself
		c.want, c.err = wantStopped, err
		c.wish++
		c.history.enter(Stopped, err)
	default:
		cause := cutOff
		if c.want == wantStopped && err != nil && !temporary(err) { // it would have stopped anyway
			c.err, cause = err, err
		}
		c.history.enter(Stopped, cause)
		if c.want == wantStarted {
			return c.begin(), false
		}
	}
	return nil, false
}

// fail makes an error about this consumer.
func (c *Consumer) fail(code bus.Code, op, reason string, cause error) error {
	return &bus.Error{Code: code, Op: op, Transport: c.bus.Capabilities().Name, Topic: c.topic, Reason: reason, Err: cause}
}

// ended makes the error of a wait that its context has ended.
func (c *Consumer) ended(ctx context.Context, op, reason string, cause error) error {
	return c.fail(driver.ContextCode(ctx.Err()), op, reason, errors.Join(ctx.Err(), cause))
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
