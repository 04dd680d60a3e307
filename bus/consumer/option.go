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

// Option configures a Consumer. The zero set is the safe one: a message that can't be
// handled is tried again and again, and nothing passes it.
type Option func(*config) error

type config struct {
	subscribe      []bus.SubscribeOption
	workers        int
	handlerTimeout time.Duration
	retry          Retry
	delays         []time.Duration
	deadLetter     string
	rate           rate.Limit
	burst          int
	inFlight       int
	drainTimeout   time.Duration
	batchSize      int
	batchAge       time.Duration
	while          *readiness
	report         *reporting
	logger         *slog.Logger
}

func defaults() config {
	return config{drainTimeout: 30 * time.Second, logger: slog.New(slog.DiscardHandler)}
}

// Subscribe sets options of the subscriptions: Group, OrderByKey, Window, and so on. They
// come after those of the bus.
func Subscribe(opts ...bus.SubscribeOption) Option {
	return func(c *config) error {
		c.subscribe = append(c.subscribe, opts...)
		return nil
	}
}

// WithWorkers bounds how many handlers run at once, for the topic and for each retry
// topic. Order stays what it is: by default
// by partition, so that there are never more at work than partitions; with
// Subscribe(bus.OrderByKey()) workers share out the keys, with Subscribe(bus.Unordered())
// the messages. The window of each partition, 64 by default, is raised to the number of
// workers, unless bus.Window comes with Subscribe. Default: no bound but the windows.
func WithWorkers(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return invalid("the number of workers is less than 1")
		}
		c.workers = n
		return nil
	}
}

// WithBatch sets the size and the greatest age of batches; see [bus.BatchSize] and
// [bus.BatchAge]. It is for NewBatch. Default: 64 and 1 s.
func WithBatch(size int, age time.Duration) Option {
	return func(c *config) error {
		if size < 1 || age <= 0 {
			return invalid("a batch has a size of at least 1 and an age over zero")
		}
		c.batchSize, c.batchAge = size, age
		return nil
	}
}

// WithHandlerTimeout ends a handler's context after d, with code DeadlineExceeded as its
// cause. A handler that then fails has failed; one that does not look at its context goes
// on, and its message with it. Default: none.
func WithHandlerTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return invalid("the handler time-out is not over zero")
		}
		c.handlerTimeout = d
		return nil
	}
}

// Retry is how often, and how soon, a message is handled again in its place.
type Retry struct {
	// Attempts is how often a message is handled before it goes on to a retry topic or
	// the dead-letter topic; where there is neither it is reported as blocking then, and
	// tried on. 0 is the default: 5, or 1 where there are retry topics.
	Attempts int
	// Min and Max are the least and the greatest time between attempts, which doubles,
	// with jitter. 0 and 0 are the bus's default, 100 ms to 10 s.
	Min, Max time.Duration
}

// WithRetry sets how a message that fails is retried in its place: it waits and holds up
// what is ordered after it, its key or its partition; others go on.
func WithRetry(r Retry) Option {
	return func(c *config) error {
		if r.Attempts < 0 || r.Min < 0 || r.Max < r.Min || (r.Min == 0) != (r.Max == 0) {
			return invalid("a retry has attempts from 1 on, and times from one over zero to one at least as long")
		}
		c.retry = r
		return nil
	}
}

// WithRetryTopics lets a message that has failed in its place wait in retry topics: after
// the first failure in topic t.retry.1 for the first delay, then in t.retry.2, and so
// on. The consumer reads those topics itself, which have to exist (or
// [bus.WithCreateTopics] makes them). The message is acknowledged once its copy is, so
// others pass it, those of its key too: only for handlers that can bear that. It needs a
// group, and is Unsupported where there are none. A group leaves copies of other groups
// alone. Default: none.
func WithRetryTopics(delays ...time.Duration) Option {
	return func(c *config) error {
		if len(delays) == 0 || slices.ContainsFunc(delays, func(d time.Duration) bool { return d <= 0 }) {
			return invalid("retry topics have a delay over zero each: leave the option out for none")
		}
		c.delays = slices.Clone(delays)
		return nil
	}
}

// WithDeadLetterTopic sets where messages go that failed as often as they may, that
// handlers answer with [bus.DeadLetter], and that can't be decoded. They keep key,
// payload, headers and timestamp, and tell where they were first and why they are there:
// see the bus.DeadLetter… headers. Default: none; then a message that can't be handled
// blocks, and one that can't be decoded stops the consumer.
func WithDeadLetterTopic(topic string) Option {
	return func(c *config) error {
		if topic == "" {
			return invalid("the dead-letter topic's name is empty")
		}
		c.deadLetter = topic
		return nil
	}
}

// WithRate bounds how many messages are handed to handlers in a second, attempts after
// the first included, and how many at once after a quiet time. Default: no bound.
func WithRate(perSecond float64, burst int) Option {
	return func(c *config) error {
		if !(perSecond > 0) || burst < 1 {
			return invalid("a rate is over zero, and its burst at least 1")
		}
		c.rate, c.burst = rate.Limit(perSecond), burst
		return nil
	}
}

// WithMaxInFlight bounds the messages that are handled or wait for their next attempt,
// in all partitions together, of the topic and of each retry topic; see [bus.InFlight].
// Default: no bound but the windows.
func WithMaxInFlight(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return invalid("the bound on messages in flight is less than 1")
		}
		c.inFlight = n
		return nil
	}
}

// WithDrainTimeout bounds how long a Stop waits for handlers before their contexts are
// cancelled, shortly before this (a quarter of it, at most a second). Default 30 s. Close
// is bounded by its context, too.
func WithDrainTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return invalid("the drain time-out is not over zero")
		}
		c.drainTimeout = d
		return nil
	}
}

// WhileReady holds handlers back, as Pause does, while one of these services of the
// registry is not Running, or, without names, while the registry is not ready. One that
// is not registered is not ready.
func WhileReady(reg *probe.Registry, services ...string) Option {
	return func(c *config) error {
		if reg == nil {
			return invalid("the registry is nil")
		}
		c.while = &readiness{reg, slices.Clone(services)}
		return nil
	}
}

// WithProbe keeps a service of the registry up to date with the consumer's state:
// Prepared while it is initialising or stopped because it was asked to, Preparing while
// it starts and NotReady when it knows of trouble with that, Running while it
// consumes, paused or not, NotReady while it stops, Failed when it stopped by itself,
// Stopped once it is closed. /detailz shows its Stats.
func WithProbe(reg *probe.Registry, service string) Option {
	return func(c *config) error {
		if reg == nil || service == "" {
			return invalid("the registry is nil, or the service has no name")
		}
		c.report = &reporting{reg, service}
		return nil
	}
}

// WithLogger sets where the consumer logs what no caller can be told: a handler's panic.
// By default nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return invalid("the logger is nil")
		}
		c.logger = l
		return nil
	}
}

// resolve fills in what depends on several options, and has the bus check the rest.
func (c *Consumer) resolve() error {
	k := &c.cfg
	if c.batch == nil && k.batchSize > 0 {
		return invalid("WithBatch is for NewBatch")
	}
	if k.retry.Attempts == 0 {
		k.retry.Attempts = 5
		if len(k.delays) > 0 {
			k.retry.Attempts = 1
		}
	}
	if k.rate > 0 {
		c.limiter = rate.NewLimiter(k.rate, k.burst)
	}
	for hop := range 1 + len(k.delays) {
		opts := make([]delivery.SubscribeOption, 0, 8)
		for _, o := range c.subscribeOptions(hop) {
			opts = append(opts, o)
		}
		s, err := seam.Of(c.bus).Check(c.topicOf(hop), c.batch != nil, opts...)
		if err != nil {
			return err
		}
		c.group, k.deadLetter = s.Group, s.DeadLetterTopic
	}
	c.handOut = c.batch == nil && (c.group == "" || !c.bus.Capabilities().Redelivery)
	if len(k.delays) > 0 && c.group == "" {
		return invalid("retry topics are a group's: add Subscribe(bus.Group(name))")
	}
	return nil
}

// subscribeOptions are those for the topic, hop 0, or a retry topic.
func (c *Consumer) subscribeOptions(hop int) []bus.SubscribeOption {
	k := &c.cfg
	var opts []bus.SubscribeOption
	if k.workers > 64 && c.batch == nil {
		opts = append(opts, bus.Window(k.workers))
	}
	opts = append(opts, k.subscribe...)
	if k.workers > 0 {
		opts = append(opts, bus.Concurrency(k.workers))
	}
	if k.inFlight > 0 {
		opts = append(opts, bus.InFlight(k.inFlight))
	}
	if k.batchSize > 0 {
		opts = append(opts, bus.BatchSize(k.batchSize), bus.BatchAge(k.batchAge))
	}
	if k.retry.Min > 0 {
		opts = append(opts, bus.Backoff(k.retry.Min, k.retry.Max))
	}
	if k.deadLetter != "" {
		opts = append(opts, bus.DeadLetterTopic(k.deadLetter))
	}
	if c.handOut {
		opts = append(opts, delivery.DrainFetched())
	}
	if hop > 0 { // what waits there already was this group's before the subscription was
		opts = append(opts, bus.FromOldest())
	}
	return append(opts, delivery.Admission(c.admission(hop)))
}

// RetryTopic returns the name of a topic's n-th retry topic; the first is 1.
func RetryTopic(topic string, n int) string { return fmt.Sprintf("%s.retry.%d", topic, n) }

// topicOf is the topic, for hop 0, or a retry topic.
func (c *Consumer) topicOf(hop int) string {
	if hop == 0 {
		return c.topic
	}
	return RetryTopic(c.topic, hop)
}

func invalid(reason string) error {
	return &bus.Error{Code: bus.CodeInvalidArgument, Op: "configure the consumer", Reason: reason}
}
