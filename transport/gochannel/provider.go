package gochannel

import (
	"context"
	"time"
)

// Config has the options of [New] as fields. The zero Config has the defaults.
type Config struct {
	// Buffer is the value of [WithBuffer]. The default, 0, means 1024.
	Buffer int
}

// NewTransport is a google/wire provider: it returns New with the options of c, and a
// cleanup function that closes the transport. The cleanup matters only if no bus was made,
// because a bus closes its transport.
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
		_ = t.Close(ctx) // if there is a bus, it has closed the transport and reported the error
	}, nil
}
