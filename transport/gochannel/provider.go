package gochannel

import (
	"context"
	"time"
)

// Config holds New's options as fields. The zero Config has the defaults.
type Config struct {
	// Buffer is what WithBuffer sets; 0 is the default.
	Buffer int
}

// NewTransport is New, and a cleanup that closes the transport, in case the bus it is
// for was never made.
func NewTransport(c Config) (*Transport, func(), error) {
	var opts []Option
	if c.Buffer != 0 {
		opts = append(opts, WithBuffer(c.Buffer))
	}
	t, err := New(opts...)
	if err != nil {
		return nil, nil, err
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = t.Close(ctx) // a bus has closed it already, and told
	}, nil
}
