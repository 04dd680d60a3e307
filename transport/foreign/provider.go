package foreign

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Options is a list of options as one type, for google/wire.
type Options []Option

// NewTransport is a google/wire provider: it returns New(pub, sub, opts...) and a cleanup
// function that closes the transport. The cleanup matters only if no bus was made, because
// a bus closes its transport.
func NewTransport(pub message.Publisher, sub message.Subscriber, opts Options) (*Transport, func(), error) {
	t, err := New(pub, sub, opts...)
	if err != nil {
		return nil, nil, err
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = t.Close(ctx) // if there is a bus, it has closed the transport and reported the error
	}, nil
}
