package consumer

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/liveness/probe"
)

// Option configures a Consumer. The options of this package and every [bus.SubscribeOption]
// are Options: bus.Group, bus.OrderByKey, bus.Concurrency and so on. Subscription options apply
// to the topic and to each retry topic. Other modules cannot implement Option.
type Option interface{ delivery.ConsumerOption }

type option struct {
	delivery.ForConsumer
	apply func(*config) error
}

func newOption(apply func(*config) error) Option { return option{apply: apply} }

type config struct {
	subscribe       []bus.SubscribeOption
	deadLetterTopic string // the resolved bus.DeadLetterTopic
	drainFetched    bool   // handle fetched messages during a stop, because no other consumer gets them
	attempts        int
	retryDelays     []time.Duration
	handlerTimeout  time.Duration
	drainTimeout    time.Duration
	rate            rate.Limit // 0: no limit
	burst           int
	readiness       *readiness   // nil without WithPauseUnlessReady
	probe           *probeTarget // nil without WithProbe
	logger          *slog.Logger
}

// WithAttempts sets how often a message is handled in place before it goes to the next retry
// topic or to the dead-letter topic, or, if there is neither, is blocked. bus.Backoff sets the
// pauses between attempts. The default is 5, and 1 with retry topics.
func WithAttempts(n int) Option {
	return newOption(func(c *config) error {
		if n < 1 {
			return invalid(fmt.Sprintf("attempts: must be at least 1, got %d", n))
		}
		c.attempts = n
		return nil
	})
}

// WithRetryTopics sends a message that has used up its attempts in place to retry topics: first
// to RetryTopic(topic, 1) for the first delay, then to RetryTopic(topic, 2) for the second, and
// so on. The bus acknowledges the message when the retry topic has its copy. So later messages
// are handled before it, also those with the same key.
//
// The consumer itself reads the retry topics. They must exist, unless the bus has
// [bus.WithCreateTopics]. A consumer skips copies of other groups. Retry topics need a group;
// without one New returns an error. The default is no retry topics.
func WithRetryTopics(delays ...time.Duration) Option {
	return newOption(func(c *config) error {
		if len(delays) == 0 {
			return invalid("retry topics: no delays; remove the option for no retry topics")
		}
		for _, d := range delays {
			if d <= 0 {
				return invalid(fmt.Sprintf("retry topics: delays must be greater than 0, got %v", d))
			}
		}
		c.retryDelays = slices.Clone(delays)
		return nil
	})
}

// WithHandlerTimeout sets how long a handler may run. After this time its context ends, with a
// bus.CodeDeadlineExceeded error as the cause. The consumer still waits until the handler
// returns. If the handler then returns an error, the message has failed. The default is no limit.
func WithHandlerTimeout(d time.Duration) Option {
	return newOption(func(c *config) error {
		if d <= 0 {
			return invalid(fmt.Sprintf("handler timeout: must be greater than 0, got %v", d))
		}
		c.handlerTimeout = d
		return nil
	})
}

// WithRate limits how many messages per second the handlers get, including further attempts.
// burst is how many messages the handlers can get at once after a time without messages. The
// default is no limit.
func WithRate(perSecond float64, burst int) Option {
	return newOption(func(c *config) error {
		if !(perSecond > 0) || burst < 1 { // unlike <= 0, this rejects NaN, too
			return invalid(fmt.Sprintf("rate: must be greater than 0 with a burst of at least 1, got %v and %d", perSecond, burst))
		}
		c.rate, c.burst = rate.Limit(perSecond), burst
		return nil
	})
}

// WithDrainTimeout sets how long Stop, Close and the end of Run wait for running handlers.
// Shortly before the end of that time the consumer cancels the contexts of the handlers, so that
// they have a quarter of the time, but at most 1 s, to return. The context of Shutdown can make
// the time shorter. The default is 30 s.
func WithDrainTimeout(d time.Duration) Option {
	return newOption(func(c *config) error {
		if d <= 0 {
			return invalid(fmt.Sprintf("drain timeout: must be greater than 0, got %v", d))
		}
		c.drainTimeout = d
		return nil
	})
}

// WithPauseUnlessReady pauses the consumer, as Pause does, while one of the services of the
// registry is not ready. Without services it pauses while the registry is not ready. A service
// that is not registered is not ready.
func WithPauseUnlessReady(reg *probe.Registry, services ...string) Option {
	return newOption(func(c *config) error {
		if reg == nil {
			return invalid("pause unless ready: the registry is nil")
		}
		c.readiness = &readiness{reg, slices.Clone(services)}
		return nil
	})
}

// WithProbe registers the consumer as a service of the registry and keeps its status up to date:
//
//	Initialising, Stopped after Stop    Prepared
//	Starting                            Preparing, or NotReady if it has a cause
//	Consuming, paused or not            Running
//	Stopping, Closing                   NotReady
//	Stopped because of an error         Failed
//	Closed                              Stopped
//
// /detailz shows the Stats.
func WithProbe(reg *probe.Registry, service string) Option {
	return newOption(func(c *config) error {
		if reg == nil || service == "" {
			return invalid("probe: the registry is nil or the name of the service is empty")
		}
		c.probe = &probeTarget{reg, service}
		return nil
	})
}

// WithLogger sets the logger for errors that cannot be returned to a caller: panics of handlers,
// blocked messages, handlers that are cut off, and errors that stop the consumer. The default is
// the logger of the bus.
func WithLogger(l *slog.Logger) Option {
	return newOption(func(c *config) error {
		if l == nil {
			return invalid("logger: the logger is nil")
		}
		c.logger = l
		return nil
	})
}

// configure applies the options, sets the defaults that depend on other options, and checks
// the subscription options with the bus.
func (c *Consumer) configure(opts []Option) error {
	plumbing, k := seam.Of(c.bus), &c.cfg
	*k = config{drainTimeout: 30 * time.Second, logger: plumbing.Logger()}
	for _, o := range opts {
		switch o := o.(type) {
		case option:
			if err := o.apply(k); err != nil {
				return err
			}
		case delivery.SubscribeOption:
			k.subscribe = append(k.subscribe, o)
		default:
			return invalid("an option is nil")
		}
	}
	if k.attempts == 0 {
		k.attempts = 5
		if len(k.retryDelays) > 0 {
			k.attempts = 1
		}
	}
	if k.rate > 0 {
		c.limiter = rate.NewLimiter(k.rate, k.burst)
	}
	for stage := range c.stages() {
		opts := make([]delivery.SubscribeOption, 0, len(k.subscribe)+3)
		for _, o := range c.subscribeOptions(stage) {
			opts = append(opts, o)
		}
		s, err := plumbing.Check(c.topicOf(stage), c.batch != nil, opts...)
		if err != nil {
			return err
		}
		c.group, k.deadLetterTopic = s.Group, s.DeadLetterTopic
	}
	k.drainFetched = c.batch == nil && (c.group == "" || !c.bus.Capabilities().Redelivery)
	if len(k.retryDelays) > 0 && c.group == "" {
		return invalid("retry topics: a consumer group is required: add bus.Group")
	}
	return nil
}

// subscribeOptions returns the options of a stage's subscription.
func (c *Consumer) subscribeOptions(stage int) []bus.SubscribeOption {
	opts := slices.Clone(c.cfg.subscribe)
	if stage > 0 { // copies can be older than the first subscription of this group
		opts = append(opts, bus.FromOldest())
	}
	if c.cfg.drainFetched {
		opts = append(opts, delivery.DrainFetched())
	}
	return append(opts, delivery.Admission(c.admission(stage)))
}

func invalid(reason string) error {
	return &bus.Error{Code: bus.CodeInvalidArgument, Op: "configure the consumer", Reason: reason}
}
