package gochannel

import (
	"fmt"

	"github.com/trunkline/trunkline/bus/driver"
)

const defaultBuffer = 1024

// Option changes what New makes.
type Option func(*options) error

type options struct {
	buffer int
}

// WithBuffer sets how many messages each subscription made through this transport
// holds before publishers to its topic wait. The default is 1024; it must be at
// least 1. Memory is taken as messages arrive.
func WithBuffer(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return &driver.Error{
				Code: driver.CodeInvalidArgument, Op: "open", Transport: name,
				Reason: fmt.Sprintf("buffer is %d: it must hold at least 1 message", n),
			}
		}
		o.buffer = n
		return nil
	}
}
