package liveness

import (
	"context"
	"time"
)

// The defaults of the options.
const (
	// DefaultServiceName is the service's name in the registry.
	DefaultServiceName = "message-bus"
	// DefaultLiveInterval is how long nothing may be heard before a probe begins.
	DefaultLiveInterval = 500 * time.Millisecond
	// DefaultNotLiveInterval is the time between probes after one was missed.
	DefaultNotLiveInterval = 250 * time.Millisecond
	// DefaultProbeTimeout is how long a probe may take.
	DefaultProbeTimeout = 500 * time.Millisecond
	// DefaultGrace is how long a required subscription may be without assignment in
	// a rebalance. It is as long as a group waits for a silent member by default: until
	// then its partitions are nobody else's. A group whose coordinator is killed takes up
	// to 4 s, on brokers that find that out after 3 s.
	DefaultGrace = 10 * time.Second
	// DefaultHistory is how many states are kept.
	DefaultHistory = 64
)

// Option configures a Monitor. The zero set is the safe one.
type Option func(*config) error

// Prober asks the broker for a sign of life: nil if and only if it gave one. It must
// end with ctx, which ends with the probe time-out and when the monitor is closed.
// Only one runs at a time. An error with code Unsupported says that there is no
// asking; one with Closed that the bus is closed, which ends the monitor; one with
// Unauthenticated that the credentials are refused.
type Prober func(ctx context.Context) error

type config struct {
	service string
	times   times
	prober  Prober
	topic   string
	history int
	all     bool
}

func defaults() config {
	return config{
		service: DefaultServiceName,
		times:   times{live: DefaultLiveInterval, notLive: DefaultNotLiveInterval, probe: DefaultProbeTimeout, grace: DefaultGrace},
		history: DefaultHistory,
	}
}

// WithServiceName names the service in the registry. Monitors of one registry must
// have different names. Default [DefaultServiceName].
func WithServiceName(name string) Option {
	return func(c *config) error {
		if name == "" {
			return invalid("the service's name is empty")
		}
		c.service = name
		return nil
	}
}

// WithLiveInterval sets how long nothing may be heard of the broker before it is
// probed, while it is live. Default [DefaultLiveInterval]; see the package's
// comment for what follows from it.
func WithLiveInterval(d time.Duration) Option {
	return interval("live interval", d, func(c *config) { c.times.live = d })
}

// WithNotLiveInterval sets the time from the beginning of a probe that was missed
// to the beginning of the next one. A probe that takes longer delays it. Default
// [DefaultNotLiveInterval].
func WithNotLiveInterval(d time.Duration) Option {
	return interval("not-live interval", d, func(c *config) { c.times.notLive = d })
}

// WithProbeTimeout sets how long a probe may take; then it is missed. A process that
// is short of CPU gives it more, up to twice as much. Default [DefaultProbeTimeout].
func WithProbeTimeout(d time.Duration) Option {
	return interval("probe time-out", d, func(c *config) { c.times.probe = d })
}

// WithGrace sets how long a required subscription that lost its assignment, while
// the bus is live, may be without one before the service is not ready. 0 is none.
// Default [DefaultGrace].
func WithGrace(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return invalid("the grace is negative")
		}
		c.times.grace = d
		return nil
	}
}

// WithProber replaces how the broker is probed. Default: the bus's Ping and, where
// that is Unsupported, a message to the probe topic, if there is one.
func WithProber(p Prober) Option {
	return func(c *config) error {
		if p == nil {
			return invalid("the prober is nil")
		}
		c.prober = p
		return nil
	}
}

// WithProbeTopic names a topic to which a small message is published as the probe
// where Ping is Unsupported. Nothing reads it: keep its retention short. A topic that
// is missing makes the service not ready. Default: none.
func WithProbeTopic(topic string) Option {
	return func(c *config) error {
		if topic == "" {
			return invalid("the probe topic's name is empty")
		}
		c.topic = topic
		return nil
	}
}

// WithAllSubscriptions requires every subscription of the bus, from its first
// assignment (or the first failure to get one) until it is closed or its context
// ends. One that ends with an error leaves the service Failed, until another on the
// same topic and group is assigned, or [Monitor.Forget].
func WithAllSubscriptions() Option {
	return func(c *config) error { c.all = true; return nil }
}

// WithHistory sets how many states [Monitor.History] keeps, at least 1. Default
// [DefaultHistory].
func WithHistory(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return invalid("the history keeps less than 1 state")
		}
		c.history = n
		return nil
	}
}

func interval(name string, d time.Duration, set func(*config)) Option {
	return func(c *config) error {
		if d <= 0 {
			return invalid("the " + name + " is not over zero")
		}
		set(c)
		return nil
	}
}
