package bus

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Delivery is one delivery of a message to a handler. The handler may keep it, and must not
// change what the record refers to: other subscriptions may share the bytes.
type Delivery struct {
	// Record is the message and its place in the log: payload, key, headers, topic, partition,
	// offset, timestamp.
	*Record
	// Attempt is 1 for the first delivery by this subscription, 2 after the first failure, and
	// so on.
	Attempt int
	// Context is the context of this delivery. For a Handler it is its ctx. In a batch each
	// delivery has its own, with the span of its message.
	Context context.Context
}

// Message returns a new watermill message with the payload, headers and key of the delivery.
// It is for code that works with watermill messages. Its Ack and Nack do not acknowledge the
// delivery: the return of the handler does.
func (d *Delivery) Message() *message.Message {
	m := newMessage(d.Record)
	m.SetContext(d.Context)
	return m
}

// newMessage returns a watermill message for a record.
func newMessage(r *Record) *message.Message {
	m := message.NewMessage(r.UUID, r.Payload)
	for _, h := range r.Headers {
		if !driver.IsDirective(h.Key) { // what was read never decides how something is published
			m.Metadata[h.Key] = h.Value
		}
	}
	if len(r.Key) > 0 {
		m.Metadata[driver.KeyDirective] = string(r.Key)
	}
	return m
}

// Handler handles one message. It acknowledges the message by returning nil. If it returns an
// error, the subscription delivers the message again after a back-off; what is ordered after
// the message waits. RetryAfter, DeadLetter, Drop and Stop make errors that ask for something
// else. A panic is an error.
//
// ctx ends when the partition is revoked, when the context of the subscription ends, or when
// a shutdown runs out of time; context.Cause says which. The handler should then return: the
// partition is not released before.
type Handler func(ctx context.Context, d *Delivery) error

// BatchHandler handles messages of one partition, at least one, in the order of the log. It
// acknowledges all of them by returning nil. If it returns an error, the subscription delivers
// the same messages again after a back-off, and nothing of their partition in between. A
// [*BatchError] names the messages that failed: the others are acknowledged, and those that
// failed are delivered again as a batch of their own. RetryAfter, DeadLetter, Drop and Stop
// apply to the whole batch, or to one message of a BatchError; messages that are to be
// delivered again are delivered together, when the last of their pauses has passed. A panic is
// an error of the batch.
//
// The slice belongs to the handler. ctx is as for a [Handler], with one exception: a batch that
// was being collected when its partition was revoked is handled then, with 3 s until its
// context ends.
type BatchHandler func(ctx context.Context, ds []*Delivery) error

// Consume subscribes h to a topic. It does not wait for a broker; [Subscription.Ready] does.
// It returns an error at once for what is wrong on this side, such as an option that the
// transport does not support.
//
// The subscription lives until its Shutdown or Close, which drain it, until a permanent error,
// or until ctx ends: the contexts of the handlers then end at once, and messages that are not
// acknowledged are delivered again.
func (b *Bus) Consume(ctx context.Context, topic string, h Handler, opts ...SubscribeOption) (*Subscription, error) {
	return b.consume(ctx, topic, opts, func(c *delivery.Config) error {
		switch {
		case c.Settle != nil:
			c.Handle = c.Settle
		case h == nil:
			return &Error{Code: CodeInvalidArgument, Op: "subscribe", Topic: topic, Reason: "the handler is nil"}
		default:
			c.Handle = func(ctx context.Context, it *delivery.Item) error { return h(ctx, (*Delivery)(it.Delivery())) }
		}
		return nil
	}, nil)
}

// ConsumeBatches is Consume for a handler of batches. A batch is handled when it has
// [BatchSize] messages, when [BatchAge] has passed since its oldest message was added, and
// when the subscription is shut down or the partition revoked while it is collected. Each
// partition has its own batches, one at a time, each in the order of the log. A record that
// cannot be decoded ends the batch before it, and is treated alone, as in Consume.
//
// Where topics have no partitions a subscription has one batch at a time. Where the transport
// keeps no order a batch is in the order of arrival. A transport that delivers one message at a
// time ([Capabilities].DirectAck) has batches of one message; a larger BatchSize is an error
// with CodeUnsupported.
//
// A batch is the window: Window must be at least the batch size. Concurrency bounds the
// batches that are handled at the same time, InFlight their messages. OrderByKey and AtMostOnce
// are errors. The messages of a batch are not committed while it is collected, so BatchAge
// delays handling by as much.
func (b *Bus) ConsumeBatches(ctx context.Context, topic string, h BatchHandler, opts ...SubscribeOption) (*Subscription, error) {
	return b.consume(ctx, topic, append([]SubscribeOption{inBatches}, opts...), func(c *delivery.Config) error {
		if h == nil {
			return &Error{Code: CodeInvalidArgument, Op: "subscribe", Topic: topic, Reason: "the handler is nil"}
		}
		c.HandleBatch = func(ctx context.Context, batch []*delivery.Item) []error {
			ds := make([]*Delivery, len(batch))
			for i, it := range batch {
				ds[i] = (*Delivery)(it.Delivery())
			}
			return delivery.BatchErrors(h(ctx, ds), len(batch))
		}
		return nil
	}, nil)
}

// consume makes a subscription, whose handler setHandler sets, and starts it. The
// subscription calls ended, unless it is nil, when it has ended.
func (b *Bus) consume(ctx context.Context, topic string, opts []SubscribeOption, setHandler func(*delivery.Config) error, ended func()) (*Subscription, error) {
	if err := b.enter("subscribe", topic); err != nil {
		return nil, err
	}
	defer b.calls.leave()
	settings, err := b.resolve(topic, opts)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, &Error{Code: driver.ContextCode(err), Op: "subscribe", Topic: topic, Err: err}
	}
	cfg := delivery.Config{Settings: settings, Topic: topic, Caps: b.caps, Logger: b.cfg.logger,
		Observers: delivery.Observers{Bus: &b.hooks, Own: &settings.Hooks}, CommitTimeout: b.cfg.closeTimeout, Publish: b.publishRecord}
	if err := setHandler(&cfg); err != nil {
		return nil, err
	}
	s := newSubscription(ctx, b, cfg, ended)
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	return s, nil
}
