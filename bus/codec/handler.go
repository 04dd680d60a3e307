package codec

import (
	"context"

	"github.com/trunkline/trunkline/bus"
)

// Handler returns a bus.Handler that decodes each message as [Decode] does and calls h with
// the value. The delivery has the key, the headers, the partition and the offset of the
// message. The handler returns h's error, so h can return bus.RetryAfter, bus.DeadLetter,
// bus.Drop and bus.Stop.
//
// If a message cannot be decoded, the handler does not call h. It returns a bus.DeadLetter
// with a bus.CodeUndecodable error, so the message goes to the subscription's
// bus.DeadLetterTopic. Without a dead-letter topic the bus delivers the message repeatedly,
// and messages ordered after it wait.
//
// If c is nil, [For] selects the codec for T. If h is nil, the returned handler is nil, which
// bus.Consume rejects.
func Handler[T any](c Codec, h func(ctx context.Context, v T, d *bus.Delivery) error) bus.Handler {
	if h == nil {
		return nil
	}
	return func(ctx context.Context, d *bus.Delivery) error {
		contentType, _ := d.Header(ContentTypeHeader)
		v, err := decode[T](c, contentType, d.Payload)
		if err != nil {
			return bus.DeadLetter(err)
		}
		return h(ctx, v, d)
	}
}
