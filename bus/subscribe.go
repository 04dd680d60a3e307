package bus

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/internal/delivery"
)

type recordKey struct{}

// RecordFromContext returns the record of a message that came through [Bus.Subscribe], from
// the context of the message.
func RecordFromContext(ctx context.Context) (*Record, bool) {
	r, ok := ctx.Value(recordKey{}).(*Record)
	return r, ok
}

// Subscribe is watermill's form of [Bus.Consume]: messages come through a channel, and each
// waits for its Ack or Nack. The context of a message ends after either. The options are those
// of [WithSubscribeDefaults]. Order is by partition unless they say otherwise: the next message
// of a partition then comes after the Ack of the one before.
//
// Subscribe returns when the subscription is assigned and positioned: it gets every message
// that is published afterwards. ctx and the delivery time-out bound the wait; if one of them
// ends first, Subscribe returns an error and there is no subscription.
//
// The channel is closed when ctx ends, when the bus is closed, and when the subscription
// fails; only Consume can report which. While the bus shuts down, a message may still be
// acknowledged.
func (b *Bus) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	var draining <-chan struct{}
	started := make(chan struct{}) // closed when draining is set
	s, err := b.consume(ctx, topic, nil, func(c *delivery.Config) error {
		c.Handle = func(ctx context.Context, it *delivery.Item) error {
			<-started
			return offer(ctx, (*Delivery)(it.Delivery()), out, draining)
		}
		return nil
	}, func() { close(out) })
	if err != nil {
		return nil, err
	}
	draining = s.engine.Draining()
	close(started)
	ready, cancel := context.WithTimeout(ctx, b.cfg.deliveryTimeout)
	defer cancel()
	if err := s.Ready(ready); err != nil {
		s.engine.Stop(err)
		<-s.done // the contexts of handlers have ended, and no handler has anything else to wait for
		return nil, err
	}
	return out, nil
}

// offer sends the message to the reader of the channel, and waits for its Ack or Nack.
func offer(ctx context.Context, d *Delivery, out chan<- *message.Message, draining <-chan struct{}) error {
	ctx, cancel := context.WithCancel(context.WithValue(ctx, recordKey{}, d.Record))
	defer cancel()
	m := newMessage(d.Record)
	m.SetContext(ctx)
	select {
	case out <- m:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-draining:
		return delivery.ErrDraining // no reader has the message
	}
	select {
	case <-m.Acked():
		return nil
	case <-m.Nacked():
		return errNacked
	case <-ctx.Done():
	}
	select {
	case <-m.Acked(): // it came first, and select picked the other
		return nil
	default:
		return context.Cause(ctx)
	}
}

var errNacked = &Error{Code: CodeUnknown, Op: "consume", Reason: "the message was nacked"}
