package memory

import (
	"context"
	"time"
)

// NewTransport is New with WithLog, and a cleanup that closes the transport, in case
// the bus it is for was never made.
func NewTransport(l *Log) (*Transport, func(), error) {
	t, err := New(WithLog(l))
	if err != nil {
		return nil, nil, err
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = t.Close(ctx) // a bus has closed it already, and told
	}, nil
}
