package gochannel

import (
	"context"
	"time"

	"github.com/google/wire"

	"github.com/trunkline/trunkline/bus/driver"
)

// Set provides a driver.Transport from a Config for google/wire.
var Set = wire.NewSet(NewTransport, wire.Bind(new(driver.Transport), new(*Transport)))

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
