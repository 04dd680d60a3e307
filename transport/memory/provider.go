package memory

import (
	"context"
	"time"
)

// NewTransport is a google/wire provider: it returns New(WithLog(l)) and a cleanup function
// that closes the transport. The cleanup matters only if no bus was made, because a bus
// closes its transport.
func NewTransport(l *Log) (*Transport, func(), error) {
	t, err := New(WithLog(l))
	if err != nil {
		return nil, nil, err
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = t.Close(ctx) // if there is a bus, it has closed the transport and reported the error
	}, nil
}
