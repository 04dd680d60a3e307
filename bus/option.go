package bus

import (
	"context"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Option configures a Bus. The zero set is the safe one.
type Option func(*config) error

type config struct {
	logger          *slog.Logger
	hooks           hooks
	deliveryTimeout time.Duration
	closeTimeout    time.Duration
	maxMessageBytes int
	create          *TopicSpec
	subscribe       []SubscribeOption
}

func defaults() config {
	return config{
		logger:          slog.New(slog.DiscardHandler),
		deliveryTimeout: 30 * time.Second,
		closeTimeout:    10 * time.Second,
		maxMessageBytes: 1_000_000,
	}
}

// WithLogger sets where the bus logs what no caller can be told: a handler's
// panic, a commit that is tried again. By default nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return invalid("the logger is nil")
		}
		c.logger = l
		return nil
	}
}

// WithHooks adds observers. One that implements none of the hook interfaces is
// an error.
func WithHooks(hs ...Hook) Option {
	return func(c *config) error {
		for _, h := range hs {
			if !c.hooks.add(h) {
				return invalid("a hook implements none of the hook interfaces")
			}
		}
		return nil
	}
}

// WithDeliveryTimeout bounds the publishing of a message whose context has no
// deadline. Default 30 s.
func WithDeliveryTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return invalid("the delivery time-out is not over zero")
		}
		c.deliveryTimeout = d
		return nil
	}
}

// WithCloseTimeout bounds Close. Default 10 s.
func WithCloseTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return invalid("the close time-out is not over zero")
		}
		c.closeTimeout = d
		return nil
	}
}

// WithMaxMessageBytes sets the largest message that is published: payload, UUID,
// names and values of its metadata. Default 1,000,000, or less where the transport
// takes less.
func WithMaxMessageBytes(n int) Option {
	return func(c *config) error {
		if n <= 0 {
			return invalid("the largest message size is not over zero")
		}
		c.maxMessageBytes = n
		return nil
	}
}

// WithCreateTopics lets Publish, Subscribe and Consume create the topics they are
// called with, by this template, when they are missing. ExistingTopic makes exceptions.
// Without it topics are never
// created by accident: a missing one is a CodeNotFound error. Where topics need no
// making it changes nothing.
func WithCreateTopics(template TopicSpec) Option {
	return func(c *config) error {
		c.create = &template
		return nil
	}
}

// WithSubscribeDefaults sets options for every subscription; those of a Consume
// come after them. They are how Subscribe, which takes no options, is given a group.
func WithSubscribeDefaults(opts ...SubscribeOption) Option {
	return func(c *config) error {
		c.subscribe = append(c.subscribe, opts...)
		return nil
	}
}

// SubscribeOption configures one subscription.
type SubscribeOption func(*subscribeConfig) error

type order uint8

const (
	orderDefault order = iota
	orderPartition
	orderKey
	orderNone
)

type subscribeConfig struct {
	group          string
	start          *Start
	partitions     []int32
	order          order
	window         int
	ahead          int
	concurrency    int
	minBackoff     time.Duration
	maxBackoff     time.Duration
	commitInterval *time.Duration
	deadLetter     string
	handOutOnDrain bool
	atMostOnce     bool
	noMetadata     bool
	reuse          bool
	later          bool
	batch          *batchConfig // nil for messages one by one
	inFlight       int
	admit          func(context.Context, AdmissionRequest) error
	hooks          hooks // the bus's that are about subscriptions, and then its own
}

// Group makes the subscription a member of a consumer group: members share the
// topic's partitions and the group's positions are kept. CodeUnsupported where the
// transport has no groups. Default: no group; the subscription sees everything.
func Group(name string) SubscribeOption {
	return func(c *subscribeConfig) error {
		if name == "" {
			return invalid("the group's name is empty: leave the option out for no group")
		}
		c.group = name
		return nil
	}
}

// NoGroup takes back a Group of WithSubscribeDefaults: the subscription sees
// everything.
func NoGroup() SubscribeOption {
	return func(c *subscribeConfig) error { c.group = ""; return nil }
}

// StartAt says where partitions without a committed position begin. Default: the
// oldest record with a group, the newest without. Without replay only Newest is
// supported.
func StartAt(s Start) SubscribeOption {
	return func(c *subscribeConfig) error {
		c.start = &s
		return nil
	}
}

// OnlyPartitions restricts a subscription without a group to these partitions.
func OnlyPartitions(ids ...int32) SubscribeOption {
	return func(c *subscribeConfig) error {
		if len(ids) == 0 {
			return invalid("no partitions are named: leave the option out for all of them")
		}
		for _, id := range ids {
			if id < 0 {
				return invalid("a partition's number is negative")
			}
		}
		c.partitions = ids
		return nil
	}
}

// OrderByPartition handles the messages of a partition one at a time, in the
// order of the log. It is the default where the transport keeps order.
func OrderByPartition() SubscribeOption {
	return func(c *subscribeConfig) error { c.order = orderPartition; return nil }
}

// OrderByKey handles the messages of a key one at a time, in the order of the
// log, and those of different keys, or of none, side by side. A message that is
// not acknowledged holds up its key, and no other.
func OrderByKey() SubscribeOption {
	return func(c *subscribeConfig) error { c.order = orderKey; return nil }
}

// Unordered handles messages side by side. It is the default where the transport
// keeps no order.
func Unordered() SubscribeOption {
	return func(c *subscribeConfig) error { c.order = orderNone; return nil }
}

// Window bounds, for each partition, the messages that are handed out and not yet
// acknowledged. Default 64; with order by partition it is always 1.
func Window(n int) SubscribeOption {
	return func(c *subscribeConfig) error {
		if n < 1 {
			return invalid("the window is less than 1")
		}
		c.window = n
		return nil
	}
}

// WindowAhead bounds, for each partition, the messages that are acknowledged while
// an earlier one is not, so that they can't be committed. When it is reached the
// partition stops until the earlier one is acknowledged. It is what a crash may
// make be delivered twice. Default 1024, at least the window.
func WindowAhead(n int) SubscribeOption {
	return func(c *subscribeConfig) error {
		if n < 1 {
			return invalid("the window ahead is less than 1")
		}
		c.ahead = n
		return nil
	}
}

// Concurrency bounds the handlers that run at once in the whole subscription.
// Default: no bound but the windows.
func Concurrency(n int) SubscribeOption {
	return func(c *subscribeConfig) error {
		if n < 1 {
			return invalid("the concurrency is less than 1")
		}
		c.concurrency = n
		return nil
	}
}

// Backoff sets the time before a message that was not acknowledged is delivered
// again: from lowest, doubling with jitter, up to highest. Default 100 ms to 10 s.
func Backoff(lowest, highest time.Duration) SubscribeOption {
	return func(c *subscribeConfig) error {
		if lowest <= 0 || highest < lowest {
			return invalid("the back-off does not go from a time over zero to one at least as long")
		}
		c.minBackoff, c.maxBackoff = lowest, highest
		return nil
	}
}

// CommitInterval sets how long acknowledgements are gathered before they are
// committed. 0: each at once. Default: the transport's, see Capabilities.
func CommitInterval(d time.Duration) SubscribeOption {
	return func(c *subscribeConfig) error {
		if d < 0 {
			return invalid("the commit interval is negative")
		}
		c.commitInterval = &d
		return nil
	}
}

// ReuseDeliveries has a Delivery, its Record and its Message used again for a later one
// once the handler has returned nil: a handler, or a hook, must not keep any of them.
// Keys, payloads and headers it may keep, as ever. It spares an allocation for each
// message. It changes nothing with AtMostOnce. Default: they are the handler's for good.
func ReuseDeliveries() SubscribeOption {
	return func(c *subscribeConfig) error {
		c.reuse = true
		return nil
	}
}

// NoMetadata leaves the Metadata of a Delivery nil, for handlers that read the headers
// from its Record: it saves a map for each message. Where deliveries are traced it
// changes nothing, since tracers look there.
func NoMetadata() SubscribeOption {
	return func(c *subscribeConfig) error { c.noMetadata = true; return nil }
}

// DeadLetterTopic sets where messages go that can't be handled: those that can't
// be decoded, and those the handler answers with DeadLetter. They keep key, payload
// and headers, and tell origin and cause in the DeadLetter… headers. The original
// is acknowledged once the dead letter is.
func DeadLetterTopic(topic string) SubscribeOption {
	return func(c *subscribeConfig) error {
		if topic == "" {
			return invalid("the dead-letter topic's name is empty")
		}
		c.deadLetter = topic
		return nil
	}
}

// resolve applies opts over the defaults and checks them against the transport.
func (b *Bus) resolve(topic string, opts []SubscribeOption) (*subscribeConfig, error) {
	c := &subscribeConfig{ahead: 1024, minBackoff: 100 * time.Millisecond, maxBackoff: 10 * time.Second, hooks: b.cfg.hooks.ofSubscriptions()}
	for _, set := range [][]SubscribeOption{b.cfg.subscribe, opts} {
		for _, o := range set {
			if err := o(c); err != nil {
				return nil, about(err, "subscribe", topic)
			}
		}
	}
	no := func(reason string) error {
		return &Error{Code: CodeUnsupported, Op: "subscribe", Transport: b.caps.Name, Topic: topic, Reason: reason}
	}
	switch {
	case c.group != "" && !b.caps.Groups:
		return nil, no("this transport has no consumer groups: leave Group out")
	case c.partitions != nil && !b.caps.Partitions:
		return nil, no("this transport's topics have no partitions: leave OnlyPartitions out")
	case c.partitions != nil && c.group != "":
		return nil, &Error{Code: CodeInvalidArgument, Op: "subscribe", Topic: topic, Reason: "a group's members are assigned their partitions: leave Group or OnlyPartitions out"}
	case c.order == orderPartition && !b.caps.Ordered:
		return nil, no("this transport keeps no order: use Unordered")
	case c.order == orderKey && !b.caps.Ordered:
		return nil, no("this transport keeps no order, by key neither: use Unordered")
	case c.order == orderKey && !b.caps.Keys:
		return nil, no("this transport carries no keys: use OrderByPartition")
	case c.start != nil && c.start.Kind != driver.StartNewest && !b.caps.Replay:
		return nil, no("this transport keeps no log to start in: only Newest is possible")
	}
	if c.order == orderDefault {
		c.order = orderPartition
		if !b.caps.Ordered {
			c.order = orderNone
		}
	}
	switch {
	case c.batch != nil:
		if err := c.resolveBatch(b.caps); err != nil {
			return nil, about(err, "subscribe", topic)
		}
	case c.order == orderPartition:
		c.window = 1
	case c.window == 0:
		c.window = 64
	}
	if c.atMostOnce && (c.admit != nil || c.inFlight > 0) {
		return nil, &Error{Code: CodeInvalidArgument, Op: "subscribe", Topic: topic, Reason: "what is acknowledged first can't be held back: leave AtMostOnce out, or Admission and InFlight"}
	}
	if c.later && (c.batch != nil || c.atMostOnce || c.order == orderPartition) {
		return nil, &Error{Code: CodeInvalidArgument, Op: "subscribe", Topic: topic,
			Reason: "nothing comes of SettleLater with batches, AtMostOnce or OrderByPartition: leave one of them out"}
	}
	c.ahead = max(c.ahead, c.window)
	if c.start == nil {
		s := Newest()
		if c.group != "" && b.caps.Replay {
			s = Oldest()
		}
		c.start = &s
	}
	if c.commitInterval == nil {
		c.commitInterval = &b.caps.CommitInterval
	}
	return c, nil
}

func invalid(reason string) error {
	return &Error{Code: CodeInvalidArgument, Op: "configure", Reason: reason}
}

// about says which operation and topic an option's error was about.
func about(err error, op, topic string) error {
	if e, ok := err.(*Error); ok {
		c := *e
		c.Op, c.Topic = op, topic
		return &c
	}
	return err
}
