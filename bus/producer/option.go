package producer

import (
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Option configures a Producer. The zero set is the safe one.
type Option func(*config) error

type mode uint8

const (
	wait mode = iota
	failFast
	buffer
)

type config struct {
	mode     mode
	messages int
	bytes    int
	timeout  time.Duration
	timed    bool // WithTimeout was given
}

func defaults() config {
	return config{messages: 1000, bytes: 16 << 20, timeout: 30 * time.Second}
}

// Wait has messages wait under their contexts while the broker is away. It is the
// default.
func Wait() Option {
	return func(c *config) error { c.mode = wait; return nil }
}

// FailFast has messages fail with bus.CodeUnavailable at once while the connection is
// known to be down. While it is not known yet, at a program's start, they wait as long
// as the transport does.
func FailFast() Option {
	return func(c *config) error { c.mode = failFast; return nil }
}

// Buffer keeps messages while the broker is away, at most so many of together so many
// bytes, counted as bus.WithMaxMessageBytes does, those on their way to the broker
// included. One more is bus.CodeResourceExhausted at once. A message whose context has no
// deadline stays until it is sent or the producer is closed, unless WithTimeout says
// otherwise.
func Buffer(messages, bytes int) Option {
	return func(c *config) error {
		c.mode = buffer
		return c.bound(messages, bytes)
	}
}

// WithMaxOutstanding bounds the messages that are accepted and have no report yet, and
// their bytes. Beyond it Send and SendAsync wait for room, under their context; with
// Buffer they fail. Default 1000 messages and 16 MiB.
func WithMaxOutstanding(messages, bytes int) Option {
	return func(c *config) error { return c.bound(messages, bytes) }
}

// WithTimeout bounds a message whose context has no deadline. Default 30 s; with
// Buffer none.
func WithTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return invalid("the time-out is not over zero")
		}
		c.timeout, c.timed = d, true
		return nil
	}
}

func (c *config) bound(messages, bytes int) error {
	if messages < 1 || bytes < 1 {
		return invalid("a bound for messages or bytes is less than 1")
	}
	c.messages, c.bytes = messages, bytes
	return nil
}

func newConfig(opts []Option) (config, error) {
	c := defaults()
	for _, o := range opts {
		if err := o(&c); err != nil {
			return c, err
		}
	}
	if c.mode == buffer && !c.timed {
		c.timeout = 0
	}
	return c, nil
}

func invalid(reason string) error {
	return &bus.Error{Code: bus.CodeInvalidArgument, Op: "configure the producer", Reason: reason}
}
