package consumer

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/time/rate"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// Consumer consumes one topic. All methods are safe for concurrent use. While it is stopped
// it has no goroutines and is not a member of its group.
type Consumer struct {
	bus      *bus.Bus
	topic    string
	group    string
	handler  bus.Handler
	batch    bus.BatchHandler // used instead of handler if it is not nil
	cfg      config
	limiter  *rate.Limiter // nil without WithRate
	pause    *pauseState
	counters counters
	blocked  blockedMessages

	probeMu sync.Mutex // held while the probe registry is updated

	mu      sync.Mutex
	history history
	// target is the state that Start, Stop or Shutdown last requested. request is the number
	// of that request. A cycle that ends because of an error also counts as a request.
	target  target
	request uint64
	cycle   *cycle // owns the subscriptions; nil if and only if there are none and no handler runs
	err     error
	closed  chan struct{} // closed on entry into Closed
	result  error         // result of Shutdown; set before closed is closed
}

// target is a state that a caller can request.
type target uint8

const (
	targetNone target = iota
	targetStopped
	targetStarted
	targetClosed
)

// New makes a consumer that calls h for each message. The consumer is Initialising: call
// Start or Run to start it. New does not contact the broker. It returns an error with
// bus.CodeInvalidArgument for invalid options, and with bus.CodeUnsupported for options that
// the transport does not support.
func New(b *bus.Bus, topic string, h bus.Handler, opts ...Option) (*Consumer, error) {
	if h == nil {
		return nil, invalid("the handler is nil")
	}
	return newConsumer(b, topic, h, nil, opts)
}

// NewBatch makes a consumer that calls h for batches of messages; see [bus.BatchHandler].
// In everything else it is like New.
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
	c := &Consumer{bus: b, topic: topic, handler: h, batch: batch, pause: newPauseState(), history: newHistory(), closed: make(chan struct{})}
	if err := c.configure(opts); err != nil {
		return nil, err
	}
	c.registerProbe()
	return c, nil
}

// Topic returns the topic that the consumer consumes, without its retry topics.
func (c *Consumer) Topic() string { return c.topic }

// Group returns the consumer group, "" for none.
func (c *Consumer) Group() string { return c.group }

// Err returns the error that stopped the consumer, for example a missing topic, options that
// the broker rejects, or a handler that returned [bus.Stop]. It is nil if Stop or Shutdown
// stopped the consumer. If such an error occurs while a Stop waits for handlers, Err returns
// it, too. Only Start clears the error.
func (c *Consumer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// connectionError returns an error while the bus reports that its connection is lost or
// rejected.
func (c *Consumer) connectionError() error {
	now := c.bus.Connection()
	if now.State != driver.Disconnected && now.State != driver.Refused {
		return nil
	}
	code := bus.CodeUnavailable
	if cause := bus.CodeOf(now.Cause); now.Cause != nil && cause != bus.CodeUnknown {
		code = cause
	}
	return c.newError(code, "consume", "the connection to the broker is "+now.State.String(), now.Cause)
}

func (c *Consumer) newError(code bus.Code, op, reason string, cause error) error {
	return &bus.Error{Code: code, Op: op, Transport: c.bus.Capabilities().Name, Topic: c.topic, Reason: reason, Err: cause}
}

// contextError returns the error of a wait that ended because its context ended.
func (c *Consumer) contextError(ctx context.Context, op, reason string, cause error) error {
	return c.newError(driver.ContextCode(ctx.Err()), op, reason, errors.Join(ctx.Err(), cause))
}
