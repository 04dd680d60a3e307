package bus

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/internal/delivery"
)

type recordKey struct{}

// RecordFromContext returns the record of a message from [Bus.Subscribe]. ctx is the context of
// the message. RecordFromContext returns false for any other context.
func RecordFromContext(ctx context.Context) (*Record, bool) {
	r, ok := ctx.Value(recordKey{}).(*Record)
	return r, ok
}

// Subscribe implements message.Subscriber of watermill. It delivers messages through a channel,
// and waits for the Ack or Nack of each. The context of a message ends after its Ack or Nack. The
// options are those of [WithSubscribeDefaults]. The default is order by partition: the next
// message of a partition comes after the Ack of the one before.
//
// Subscribe returns when the subscription is ready: it gets every message that is published
// afterwards. If ctx ends or the delivery time-out passes first, Subscribe returns an error and
// ends the subscription.
//
// The bus closes the channel when ctx ends, when the bus is closed, and when the subscription
// fails. Subscribe cannot report the reason; use Consume to get it. While the bus shuts down,
// messages can still be acknowledged.
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
		<-s.done // this does not block for long: offer returns when its context ends
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
	case <-m.Acked(): // both were ready, and select chose ctx
		return nil
	default:
		return context.Cause(ctx)
	}
}

var errNacked = &Error{Code: CodeUnknown, Op: "consume", Reason: "the message was nacked"}
