package bus

import (
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Option configures a Bus.
type Option func(*config) error

type config struct {
	logger          *slog.Logger
	hooks           delivery.Hooks
	deliveryTimeout time.Duration
	closeTimeout    time.Duration
	maxMessageBytes int
	create          *TopicSpec
	subscribe       []SubscribeOption
}

func defaults() config {
	return config{
		logger:          slog.Default(),
		deliveryTimeout: 30 * time.Second,
		closeTimeout:    10 * time.Second,
		maxMessageBytes: 1_000_000,
	}
}

// WithLogger sets the logger for errors that cannot be returned to a caller: a handler's panic,
// a commit that failed, a dead letter that was not published. Consumers, RPC clients and RPC
// servers on the bus use it too, unless they have their own. The default is slog.Default().
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return delivery.Invalid("the logger is nil")
		}
		c.logger = l
		return nil
	}
}

// WithHooks adds hooks. A hook that implements no interface of package hook is an error.
func WithHooks(hooks ...hook.Hook) Option {
	return func(c *config) error {
		for _, h := range hooks {
			if !c.hooks.Add(h) {
				return delivery.Invalid("a hook implements no interface of package hook")
			}
		}
		return nil
	}
}

// WithDeliveryTimeout bounds the publishing of a message whose context has no deadline, and the
// time that Subscribe waits until its subscription is ready. The default is 30 s.
func WithDeliveryTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return delivery.Invalid("the delivery time-out must be greater than 0, got " + d.String())
		}
		c.deliveryTimeout = d
		return nil
	}
}

// WithCloseTimeout bounds Close, of the bus and of its subscriptions. The default is 10 s.
func WithCloseTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return delivery.Invalid("the close time-out must be greater than 0, got " + d.String())
		}
		c.closeTimeout = d
		return nil
	}
}

// WithMaxMessageBytes sets the size of the largest message that the bus publishes: payload,
// UUID, key, and the names and values of its headers. The default is 1,000,000 bytes. If the
// limit of the transport is lower, it applies instead.
func WithMaxMessageBytes(n int) Option {
	return func(c *config) error {
		if n <= 0 {
			return delivery.Invalid("the largest message size must be greater than 0")
		}
		c.maxMessageBytes = n
		return nil
	}
}

// WithCreateTopics makes publishing and consuming create missing topics from this template.
// Without it the bus never creates a topic by itself, and a missing topic is an error with
// CodeNotFound. The option has no effect on a transport whose topics need no creation.
func WithCreateTopics(template TopicSpec) Option {
	return func(c *config) error {
		c.create = &template
		return nil
	}
}

// WithSubscribeDefaults sets options for every subscription. Consume applies its own options
// after them. Subscribe has no options of its own, so this is the way to set its group.
func WithSubscribeDefaults(opts ...SubscribeOption) Option {
	return func(c *config) error {
		c.subscribe = append(c.subscribe, opts...)
		return nil
	}
}
