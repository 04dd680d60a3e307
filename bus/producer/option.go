package producer

import (
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Option configures a Producer.
type Option func(*config) error

// OutagePolicy is what a Producer does with messages while the broker is unavailable.
type OutagePolicy uint8

const (
	// Wait keeps messages in the queue until their contexts end. Send and SendAsync block
	// while the queue is full. It is the default.
	Wait OutagePolicy = iota
	// FailFast fails messages with bus.CodeUnavailable as soon as the bus reports that the
	// connection is down. Before the first connection the state is not known. Until then
	// messages are not rejected, and wait in the transport.
	FailFast
	// Buffer keeps messages in the queue until they are sent or the producer is closed.
	// Their contexts, and WithDeliveryTimeout if it is set, still limit the time. Send
	// and SendAsync fail with bus.CodeResourceExhausted while the queue is full.
	Buffer
)

type config struct {
	policy          OutagePolicy
	maxMessages     int
	maxBytes        int
	deliveryTimeout time.Duration // 0: no limit; negative: not set yet
}

// WithOutagePolicy sets what the producer does while the broker is unavailable. The
// default is Wait.
func WithOutagePolicy(p OutagePolicy) Option {
	return func(c *config) error {
		if p > Buffer {
			return invalid(fmt.Sprintf("outage policy: must be Wait, FailFast or Buffer, got %d", p))
		}
		c.policy = p
		return nil
	}
}

// WithMaxOutstanding sets how many messages without a report the producer holds, queued or
// on their way to the broker, and how many bytes they have together. Bytes are counted as
// bus.WithMaxMessageBytes counts them. At the limit Send and SendAsync wait until another
// message gets its report; with the policy Buffer they fail. The default is 1000 messages
// and 16 MiB.
func WithMaxOutstanding(messages, bytes int) Option {
	return func(c *config) error {
		if messages < 1 || bytes < 1 {
			return invalid(fmt.Sprintf("max outstanding: messages and bytes must be at least 1, got %d and %d", messages, bytes))
		}
		c.maxMessages, c.maxBytes = messages, bytes
		return nil
	}
}

// WithDeliveryTimeout sets how long a message whose context has no deadline may stay
// without a report. The default is 30 s, and no limit with the policy Buffer.
func WithDeliveryTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return invalid(fmt.Sprintf("delivery timeout: must be greater than 0, got %v", d))
		}
		c.deliveryTimeout = d
		return nil
	}
}

func newConfig(opts []Option) (config, error) {
	c := config{maxMessages: 1000, maxBytes: 16 << 20, deliveryTimeout: -1}
	for _, o := range opts {
		if err := o(&c); err != nil {
			return c, err
		}
	}
	if c.deliveryTimeout < 0 {
		c.deliveryTimeout = 30 * time.Second
		if c.policy == Buffer {
			c.deliveryTimeout = 0
		}
	}
	return c, nil
}

func invalid(reason string) error {
	return &bus.Error{Code: bus.CodeInvalidArgument, Op: "configure the producer", Reason: reason}
}
