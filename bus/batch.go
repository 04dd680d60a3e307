package bus

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// BatchHandler handles messages of one partition, at least one, in the order of the
// log. nil acknowledges all of them. An error is a Nack of the batch: the same messages
// are delivered again after a back-off, and nothing of their partition comes between.
// A [*BatchError] names those that were not handled; the others are acknowledged, and
// the named ones delivered again, as a batch of their own. Retry, DeadLetter, Drop and
// Stop mean for the whole batch, or for a message of a BatchError, what they mean for
// one message; messages that are to come again come together, when the last of them
// is due. A panic is a Nack of the batch.
//
// The messages are the handler's; the slice is too. ctx is as for a [Handler], except
// that a batch which was being collected when its partition was taken away is handed
// over then, with 3 s until its context ends.
type BatchHandler func(ctx context.Context, ds []*Delivery) error

// ConsumeBatches is Consume for a handler of batches. A batch is handed over when it
// has [BatchSize] messages, when [BatchAge] has passed since the oldest came into it,
// and when the subscription is closed or the partition taken away while it is
// collected. Each partition has batches of its own, one at a time, each in the order of
// the log. A record that can't be decoded ends the batch before it, and is seen to by
// itself, as with Consume.
//
// Where topics have no partitions a subscription has one batch at a time; where the
// transport keeps no order a batch is in the order of arrival. A transport that hands
// out one message at a time ([Capabilities].DirectAck) has batches of one message: to
// ask for more is CodeUnsupported.
//
// A batch is the window: Window may be given, and be no smaller; Concurrency bounds
// batches that are handled at once, InFlight their messages. OrderByKey and AtMostOnce
// are for messages one by one, and refused; HandOutOnDrain changes nothing. What a batch waits for
// while it is collected is not committed: BatchAge is how much later a message is
// handled.
func (b *Bus) ConsumeBatches(ctx context.Context, topic string, h BatchHandler, opts ...SubscribeOption) (*Subscription, error) {
	if h == nil {
		return nil, &Error{Code: CodeInvalidArgument, Op: "subscribe", Topic: topic, Reason: "the handler is nil"}
	}
	return b.consume(ctx, topic, append([]SubscribeOption{inBatches}, opts...), func(s *Subscription) { s.batch = h })
}

// BatchSize sets how many messages a batch of ConsumeBatches has at most. Default 64,
// or InFlight if that is less.
func BatchSize(n int) SubscribeOption {
	return func(c *subscribeConfig) error {
		if n < 1 {
			return invalid("the batch size is less than 1")
		}
		if c.batch == nil {
			return errOneByOne
		}
		c.batch.size = n
		return nil
	}
}

// BatchAge sets how old a batch of ConsumeBatches gets before it is handed over although
// it is not full: the time since its oldest message came into it, whatever comes after.
// Default 1 s.
func BatchAge(d time.Duration) SubscribeOption {
	return func(c *subscribeConfig) error {
		if d <= 0 {
			return invalid("the batch age is not over zero")
		}
		if c.batch == nil {
			return errOneByOne
		}
		c.batch.age = d
		return nil
	}
}

var errOneByOne = &Error{Code: CodeInvalidArgument, Op: "configure", Reason: "a batch is what ConsumeBatches is for: leave BatchSize and BatchAge out"}

// batchConfig is what a subscription in batches has besides.
type batchConfig struct {
	size int // 0: the default
	age  time.Duration
}

// inBatches comes before all options that were given.
func inBatches(c *subscribeConfig) error {
	c.batch = &batchConfig{age: time.Second}
	return nil
}

// resolveBatch checks what goes with batches, and sets the window.
func (c *subscribeConfig) resolveBatch(caps driver.Capabilities) error {
	k := c.batch
	switch {
	case c.order == orderKey:
		return invalid("a batch is in the order of its partition: leave OrderByKey out")
	case c.atMostOnce:
		return invalid("AtMostOnce is for messages one by one: leave it out")
	case k.size > 1 && caps.DirectAck:
		return &Error{Code: CodeUnsupported, Transport: caps.Name, Reason: "this transport hands out one message at a time: leave BatchSize out"}
	}
	if k.size == 0 {
		k.size = 64
		if c.window > 0 {
			k.size = min(k.size, c.window)
		}
		if c.inFlight > 0 {
			k.size = min(k.size, c.inFlight)
		}
		if caps.DirectAck {
			k.size = 1
		}
	}
	if c.window > 0 && c.window < k.size {
		return invalid("a batch does not fit into the window: make the window at least the batch size")
	}
	if c.inFlight > 0 && c.inFlight < k.size {
		return invalid("a batch does not fit into what may be in flight: make InFlight at least the batch size")
	}
	c.window = k.size
	// What was collected is handed over in any case; all that was fetched, where nobody
	// would get it otherwise.
	c.handOutOnDrain = !caps.Redelivery || c.group == ""
	return nil
}
