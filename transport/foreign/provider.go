package foreign

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Options are New's, as one value.
type Options []Option

// NewTransport is New, and a cleanup that closes the transport, in case the bus it is
// for was never made.
func NewTransport(pub message.Publisher, sub message.Subscriber, opts Options) (*Transport, func(), error) {
	t, err := New(pub, sub, opts...)
	if err != nil {
		return nil, nil, err
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = t.Close(ctx) // a bus has closed it already, and told
	}, nil
}
