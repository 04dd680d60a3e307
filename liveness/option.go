package liveness

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// The defaults of the options.
const (
	// DefaultServiceName is the name of the monitor's service in the registry.
	DefaultServiceName = "message-bus"
	// DefaultLiveInterval is how long the broker may be silent before the monitor pings it.
	DefaultLiveInterval = 500 * time.Millisecond
	// DefaultNotLiveInterval is the time between pings after a ping has failed.
	DefaultNotLiveInterval = 250 * time.Millisecond
	// DefaultPingTimeout is how long a ping may take.
	DefaultPingTimeout = 500 * time.Millisecond
	// DefaultGrace is how long a required subscription may be without an assignment
	// during a rebalance. By default a Kafka group waits for the same time for a member
	// that has died, and no other member reads its partitions during that time. If the
	// coordinator of the group is killed, and the other brokers detect that after 3 s, the
	// members have their assignments again within 4 s.
	DefaultGrace = 10 * time.Second
	// DefaultHistory is the number of states that a monitor keeps.
	DefaultHistory = 64
)

// closeTimeout bounds Close.
const closeTimeout = 5 * time.Second

// Option configures a [Monitor].
type Option interface {
	applyToMonitor(c *config) error
}

// CheckerOption configures a [Checker].
type CheckerOption interface {
	applyToChecker(c *checkerConfig) error
}

// SharedOption configures a [Monitor] or a [Checker].
type SharedOption interface {
	Option
	CheckerOption
}

// PingFunc sends a request to the broker and waits for the answer. It returns nil if and
// only if the broker answered. It must return when ctx ends, which happens at the ping
// time-out and when the monitor is closed. A monitor runs one ping at a time.
//
// Some codes of the error have a special meaning. With CodeUnsupported the monitor works
// without pings. With CodeUnauthenticated the service is Failed. With CodeClosed the
// monitor ends, because the bus is closed.
type PingFunc func(ctx context.Context) error

type config struct {
	common
	times     times
	ping      PingFunc
	pingTopic string
	history   int
	// onlyRequired reports whether readiness depends only on the subscriptions that were
	// passed to Require.
	onlyRequired bool
}

// common has the options that a monitor and a checker share.
type common struct {
	service string
	logger  *slog.Logger // nil for the bus's
}

func newConfig(opts []Option) (config, error) {
	c := config{
		common:  common{service: DefaultServiceName},
		times:   times{live: DefaultLiveInterval, notLive: DefaultNotLiveInterval, ping: DefaultPingTimeout, grace: DefaultGrace},
		history: DefaultHistory,
	}
	for _, o := range opts {
		if o == nil {
			return c, invalid("an option is nil")
		}
		if err := o.applyToMonitor(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

type monitorOption func(*config) error

func (o monitorOption) applyToMonitor(c *config) error { return o(c) }

type sharedOption func(*common) error

func (o sharedOption) applyToMonitor(c *config) error        { return o(&c.common) }
func (o sharedOption) applyToChecker(c *checkerConfig) error { return o(&c.common) }

// WithServiceName sets the name of the service in the registry. Each monitor and each
// checker that reports to a registry needs a name of its own. The defaults are
// [DefaultServiceName] and [DefaultCheckerName].
func WithServiceName(name string) SharedOption {
	return sharedOption(func(c *common) error {
		if name == "" {
			return invalid("the service name is empty")
		}
		c.service = name
		return nil
	})
}

// WithLogger sets the logger for changes of the service's status. The default is the
// bus's logger.
func WithLogger(l *slog.Logger) SharedOption {
	return sharedOption(func(c *common) error {
		if l == nil {
			return invalid("the logger is nil")
		}
		c.logger = l
		return nil
	})
}

// WithLiveInterval sets how long a live broker may be silent before the monitor pings it.
// The default is [DefaultLiveInterval]. The package comment has the resulting detection
// times.
func WithLiveInterval(d time.Duration) Option {
	return positive("live interval", d, func(c *config) { c.times.live = d })
}

// WithNotLiveInterval sets the time from the start of a failed ping to the start of the
// next one. A ping that takes longer delays the next one. The default is
// [DefaultNotLiveInterval].
func WithNotLiveInterval(d time.Duration) Option {
	return positive("not-live interval", d, func(c *config) { c.times.notLive = d })
}

// WithPingTimeout sets how long a ping may take before it counts as failed. If this
// process is short of CPU, the monitor extends the time-out to twice d at most. The
// default is [DefaultPingTimeout].
func WithPingTimeout(d time.Duration) Option {
	return positive("ping time-out", d, func(c *config) { c.times.ping = d })
}

// WithGrace sets the grace period. If a required subscription loses its assignment while
// the bus is live, the service stops being ready after this time without it. With 0 the
// service stops being ready at once. The default is [DefaultGrace].
func WithGrace(d time.Duration) Option {
	return monitorOption(func(c *config) error {
		if d < 0 {
			return invalid(fmt.Sprintf("the grace period must not be negative, got %v", d))
		}
		c.times.grace = d
		return nil
	})
}

// WithPing sets how the monitor pings the broker. The default is the bus's Ping and,
// where that is unsupported, a message to the topic of [WithPingTopic], if there is one.
func WithPing(f PingFunc) Option {
	return monitorOption(func(c *config) error {
		if f == nil {
			return invalid("the ping function is nil")
		}
		c.ping = f
		return nil
	})
}

// WithPingTopic names a topic to which the monitor publishes a small message as a ping
// where the bus's Ping is unsupported. Nothing reads these messages, so give the topic a
// short retention. If the topic does not exist, the service is not ready. The default is
// no topic.
func WithPingTopic(topic string) Option {
	return monitorOption(func(c *config) error {
		if topic == "" {
			return invalid("the name of the ping topic is empty")
		}
		c.pingTopic = topic
		return nil
	})
}

// WithRequiredOnly makes readiness depend only on the subscriptions that were passed to
// [Monitor.Require]. By default it depends on every subscription of the bus that was not
// passed to [Monitor.Ignore].
func WithRequiredOnly() Option {
	return monitorOption(func(c *config) error { c.onlyRequired = true; return nil })
}

// WithHistory sets how many states [Monitor.History] keeps. It must be at least 1. The
// default is [DefaultHistory].
func WithHistory(n int) Option {
	return monitorOption(func(c *config) error {
		if n < 1 {
			return invalid(fmt.Sprintf("the history must keep at least 1 state, got %d", n))
		}
		c.history = n
		return nil
	})
}

func positive(name string, d time.Duration, set func(*config)) Option {
	return monitorOption(func(c *config) error {
		if d <= 0 {
			return invalid(fmt.Sprintf("the %s must be greater than 0, got %v", name, d))
		}
		set(c)
		return nil
	})
}
