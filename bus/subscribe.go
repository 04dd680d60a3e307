package bus

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
)

type recordKey struct{}

// RecordFromContext returns the record of a message that came through Subscribe,
// from the message's context.
func RecordFromContext(ctx context.Context) (*Record, bool) {
	r, ok := ctx.Value(recordKey{}).(*Record)
	return r, ok
}

// Subscribe is watermill's form of Consume: messages come through a channel, each
// waits for its Ack or Nack, and its context ends with either. The options are those
// of WithSubscribeDefaults; order is by partition unless they say otherwise, so that
// the next message of a partition comes after the Ack of the one before. The channel
// is closed when ctx ends, the bus is closed, or the subscription fails: only
// Consume can tell which.
//
// Close gives an unacknowledged message the time that Close has to be acknowledged.
func (b *Bus) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	_, err := b.consume(ctx, topic, nil, func(s *Subscription) {
		s.acks = true
		s.handler = func(ctx context.Context, d *Delivery) error { return s.offer(ctx, d, out) }
		s.ended = func() { close(out) }
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// offer sends the message to whoever reads the channel, and waits for the answer.
func (s *Subscription) offer(ctx context.Context, d *Delivery, out chan<- *message.Message) error {
	ctx, cancel := context.WithCancel(context.WithValue(ctx, recordKey{}, d.Record))
	defer cancel()
	m := d.Message
	m.SetContext(ctx)
	select {
	case out <- m:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.draining:
		return errDraining // nobody has seen it
	}
	select {
	case <-m.Acked():
		return nil
	case <-m.Nacked():
		return errNacked
	case <-ctx.Done():
	}
	select {
	case <-m.Acked(): // it was first, whatever select picked
		return nil
	default:
		return context.Cause(ctx)
	}
}

var errNacked = &Error{Code: CodeUnknown, Op: "consume", Reason: "the message was nacked"}
