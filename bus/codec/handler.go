package codec

import (
	"context"

	"github.com/trunkline/trunkline/bus"
)

// Handler makes a bus.Handler of h: each message is decoded as [Decode] does it and
// handed to h, with the delivery for its key, headers and place in the log. What h
// returns is what the handler returns, so bus.Retry, bus.Drop and the others work in
// it.
//
// A message that can't be decoded does not reach h: the handler returns
// bus.DeadLetter with a bus.CodeUndecodable error. It then goes to the subscription's
// bus.DeadLetterTopic; without one it is delivered again and again, and holds up what
// is ordered after it, so that nothing is lost unseen.
//
// A nil c is the default of T. A nil h gives a nil handler, which bus.Consume refuses.
func Handler[T any](c Codec, h func(ctx context.Context, v T, d *bus.Delivery) error) bus.Handler {
	if h == nil {
		return nil
	}
	return func(ctx context.Context, d *bus.Delivery) error {
		v, err := Decode[T](c, d.Message)
		if err != nil {
			return bus.DeadLetter(err)
		}
		return h(ctx, v, d)
	}
}
