package gochannel

import "fmt"

const defaultBuffer = 1024

// Option configures a [Transport].
type Option func(*options) error

type options struct {
	buffer int
}

// WithBuffer sets how many messages each subscription of this transport holds before
// publishers of its topic wait. It must be at least 1. The default is 1024. Memory is
// allocated as messages arrive.
func WithBuffer(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return invalidArgument("open", fmt.Sprintf("the buffer must be at least 1 message, got %d", n))
		}
		o.buffer = n
		return nil
	}
}
