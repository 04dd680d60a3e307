package bus

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Delivery is one delivery of a message to a handler. The handler may keep it. The handler must
// not change the payload, key or headers of the record: other subscriptions may share the bytes.
type Delivery struct {
	// Record is the message and its place in the log: payload, key, headers, topic, partition,
	// offset, timestamp.
	*Record
	// Attempt is 1 for the first delivery by this subscription, 2 after the first failure, and
	// so on.
	Attempt int
	// Context is the context of this delivery. For a Handler it is the ctx argument. In a batch
	// each delivery has a context of its own, with the span of its message.
	Context context.Context
}

// Message returns a new watermill message with the payload, headers and key of the delivery.
// It is for code that works with watermill messages. Ack and Nack of the message have no effect
// on the delivery: the result of the handler decides.
func (d *Delivery) Message() *message.Message {
	m := newMessage(d.Record)
	m.SetContext(d.Context)
	return m
}

// newMessage returns a watermill message for a record.
func newMessage(r *Record) *message.Message {
	m := message.NewMessage(r.UUID, r.Payload)
	for _, h := range r.Headers {
		if !driver.IsDirective(h.Key) { // a consumed header must not decide how a message is published
			m.Metadata[h.Key] = h.Value
		}
	}
	if len(r.Key) > 0 {
		m.Metadata[driver.KeyDirective] = string(r.Key)
	}
	return m
}

// Handler handles one message. It acknowledges the message by returning nil. If it returns an
// error, the subscription delivers the message again after a back-off. Messages that are ordered
// after it wait. To choose something else than the back-off, the handler returns an error from
// RetryAfter, DeadLetter, Drop or Stop. The subscription treats a panic as an error.
//
// ctx ends when the partition is revoked, when the context of the subscription ends, or when
// a shutdown runs out of time; context.Cause says which. The handler should then return, because
// the subscription cannot release the partition before.
type Handler func(ctx context.Context, d *Delivery) error

// BatchHandler handles one or more messages of one partition, in the order of the log. It
// acknowledges all of them by returning nil. If it returns an error, the subscription delivers
// the same messages again after a back-off. Later messages of the partition wait. The
// subscription treats a panic as an error of the whole batch.
//
// If only some messages failed, the handler returns a [*BatchError] with their indexes. The
// subscription acknowledges the others, and delivers those that failed again, as one batch.
//
// RetryAfter, DeadLetter, Drop and Stop apply to the whole batch, or to one message of a
// BatchError. If the messages of a batch have different pauses, the subscription waits for the
// longest one.
//
// If a partition is revoked while a batch is being collected, the subscription calls the handler
// for the incomplete batch. Its ctx ends after 3 s. Otherwise ctx is as for a [Handler]. The slice
// belongs to the handler.
type BatchHandler func(ctx context.Context, ds []*Delivery) error

// Consume subscribes h to a topic. It does not wait for a broker; [Subscription.Ready] does.
// It returns an error at once for a mistake of the caller, such as an option that the transport
// does not support.
//
// Shutdown and Close drain the subscription and end it. A permanent error ends it, too. When ctx
// ends, the subscription and the contexts of its handlers end at once. Messages that are not
// acknowledged are delivered again if the transport supports it.
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

// ConsumeBatches is Consume for a handler of batches. The subscription calls the handler when a
// batch has [BatchSize] messages, and when [BatchAge] has passed since its oldest message was
// added. It also calls the handler for an incomplete batch when it is shut down and when the
// partition is revoked. Each partition has its own batches, one at a time, each in the order of
// the log. A record that cannot be decoded is never in a batch: the batch ends before it, and the
// subscription handles the record as Consume does.
//
// If topics have no partitions, a subscription has one batch at a time. If the transport keeps
// no order, a batch is in the order of arrival. If the transport delivers one message at a
// time ([Capabilities].DirectAck), each batch has one message; a larger BatchSize is an error
// with CodeUnsupported.
//
// [Window] must be at least the batch size. [Concurrency] bounds the batches that are handled at
// the same time, and [InFlight] bounds their messages. [OrderByKey] and [AtMostOnce] are errors.
// A message can wait for its handler as long as BatchAge, because the batch is collected first.
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

// consume makes a subscription and starts it. setHandler sets the handler in the configuration.
// If ended is not nil, the subscription calls it when it has ended.
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
