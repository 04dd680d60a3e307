package bus

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// Delivery is one delivery of a message to a handler.
type Delivery struct {
	// Message is what was published. It is the handler's while it runs, except for the
	// payload's bytes, which other subscriptions may share: read them only. Its Ack
	// and Nack mean nothing here, the handler's return does; its Acked and Nacked are
	// nil channels. Give a Copy to what waits for them.
	*message.Message
	// Record says where it stands: topic, partition, offset, key, timestamp, headers.
	Record *Record
	// Attempt is 1 for the first delivery by this subscription, 2 for the one after a
	// Nack, and so on.
	Attempt int

	later *later // nil without SettleLater
}

// Handler handles one message. nil acknowledges it. An error is a Nack: the message
// is delivered again after a back-off, and holds up what is ordered after it.
// Retry, DeadLetter, Drop and Stop make errors that say more, and Later says nothing yet.
// A panic is a Nack.
//
// ctx ends when the partition is revoked, the subscription's own context ends, or a
// drain runs out of time; context.Cause tells which. The handler should return
// then: the partition is not let go before it does.
type Handler func(ctx context.Context, d *Delivery) error

// Consume subscribes h to a topic. It does not wait for a broker: Subscription.Ready
// does. It fails at once for what is wrong on this side; an option that the
// transport can't honour is CodeUnsupported.
//
// The subscription lives until ctx ends (at once: handlers' contexts end, what is
// not acknowledged is delivered again), Close (drained), or a final error.
func (b *Bus) Consume(ctx context.Context, topic string, h Handler, opts ...SubscribeOption) (*Subscription, error) {
	if h == nil {
		return nil, &Error{Code: CodeInvalidArgument, Op: "subscribe", Topic: topic, Reason: "the handler is nil"}
	}
	return b.consume(ctx, topic, opts, func(s *Subscription) { s.handler = h })
}

// consume makes a subscription, lets set give it its handler, and starts it.
func (b *Bus) consume(ctx context.Context, topic string, opts []SubscribeOption, set func(*Subscription)) (*Subscription, error) {
	if err := b.enter("subscribe", topic); err != nil {
		return nil, err
	}
	defer b.gate.leave()
	cfg, err := b.resolve(topic, opts)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, &Error{Code: driver.ContextCode(err), Op: "subscribe", Topic: topic, Err: err}
	}
	s := newSubscription(ctx, b, topic, cfg)
	set(s)
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// SubscriptionSettings is what a subscription's options come to, defaults included.
type SubscriptionSettings struct {
	// Group is the consumer group, "" for none.
	Group string
	// DeadLetterTopic is where dead letters go, "" for none.
	DeadLetterTopic string
	// Window is how many messages of a partition are in flight at most.
	Window int
	// BatchSize is how many messages a batch has at most; 0 for messages one by one.
	BatchSize int
}

// CheckConsume returns what Consume would make of the options, or the error that it
// would fail with at once: what only this side can know to be wrong.
func (b *Bus) CheckConsume(topic string, opts ...SubscribeOption) (SubscriptionSettings, error) {
	return b.check(topic, opts)
}

// CheckConsumeBatches is CheckConsume for ConsumeBatches.
func (b *Bus) CheckConsumeBatches(topic string, opts ...SubscribeOption) (SubscriptionSettings, error) {
	return b.check(topic, append([]SubscribeOption{inBatches}, opts...))
}

func (b *Bus) check(topic string, opts []SubscribeOption) (SubscriptionSettings, error) {
	if err := b.enter("subscribe", topic); err != nil {
		return SubscriptionSettings{}, err
	}
	defer b.gate.leave()
	c, err := b.resolve(topic, opts)
	if err != nil {
		return SubscriptionSettings{}, err
	}
	s := SubscriptionSettings{Group: c.group, DeadLetterTopic: c.deadLetter, Window: c.window}
	if c.batch != nil {
		s.BatchSize = c.batch.size
	}
	return s, nil
}
