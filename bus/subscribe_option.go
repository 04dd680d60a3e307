package bus

import (
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
)

// SubscribeOption configures one subscription. [Bus.Consume], [Bus.ConsumeBatches], consumer.New
// and rpc.NewServer accept it. It cannot be implemented outside of this module.
type SubscribeOption interface{ delivery.SubscribeOption }

// Group makes the subscription a member of a consumer group: the members share the
// partitions of the topic, and the group has committed offsets. If the transport has no groups,
// subscribing returns an error with CodeUnsupported. The default is no group: the subscription
// gets every message.
func Group(name string) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error {
		if name == "" {
			return delivery.Invalid("the name of the group is empty: for no group, remove the option")
		}
		s.Group = name
		return nil
	})
}

// NoGroup cancels a Group of [WithSubscribeDefaults].
func NoGroup() SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error { s.Group = ""; return nil })
}

// FromOldest starts partitions without a committed offset at the oldest record of the log.
// It is the default with a group, if the transport can replay.
func FromOldest() SubscribeOption { return from(driver.Start{Kind: driver.StartOldest}) }

// FromNewest starts partitions without a committed offset at the end of the log. The transport
// determines that end before the subscription becomes ready. FromNewest is the default without a
// group.
func FromNewest() SubscribeOption { return from(driver.Start{Kind: driver.StartNewest}) }

// FromOffset starts partitions without a committed offset at this offset.
func FromOffset(offset int64) SubscribeOption {
	return from(driver.Start{Kind: driver.StartAtOffset, Offset: offset})
}

// FromTime starts partitions without a committed offset at their first record whose timestamp is
// not before t.
func FromTime(t time.Time) SubscribeOption {
	return from(driver.Start{Kind: driver.StartAtTime, Time: t})
}

// from sets where partitions without a committed offset start. Settings.Resolve rejects every
// start but the newest if the transport cannot replay.
func from(start driver.Start) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error { s.Start = &start; return nil })
}

// OnlyPartitions restricts a subscription without a group to these partitions.
func OnlyPartitions(ids ...int32) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error {
		if len(ids) == 0 {
			return delivery.Invalid("OnlyPartitions has no partitions: for all of them, remove the option")
		}
		for _, id := range ids {
			if id < 0 {
				return delivery.Invalid(fmt.Sprintf("partition %d is negative", id))
			}
		}
		s.Partitions = ids
		return nil
	})
}

// OrderByPartition handles the messages of a partition one at a time, in the order of the
// log. It is the default where the transport keeps order.
func OrderByPartition() SubscribeOption { return order(delivery.OrderByPartition) }

// OrderByKey handles the messages of a key one at a time, in the order of the log, and messages
// with different keys concurrently. Messages without a key are handled in no particular order. A
// message that is not acknowledged blocks the later messages of its key, but no other key.
func OrderByKey() SubscribeOption { return order(delivery.OrderByKey) }

// Unordered handles all messages concurrently. It is the default where the transport keeps
// no order.
func Unordered() SubscribeOption { return order(delivery.Unordered) }

func order(o delivery.Order) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error { s.Order = o; return nil })
}

// Window bounds, for each partition, the messages that were delivered and are not yet
// acknowledged. The default is 64, or Concurrency if that is greater; with OrderByPartition it
// is always 1.
func Window(n int) SubscribeOption {
	return atLeastOne("Window", n, func(s *delivery.Settings) { s.Window = n })
}

// WindowAhead bounds, for each partition, the messages that are acknowledged while an earlier
// one is not, so that they cannot be committed yet. At the bound the subscription takes no
// further messages of the partition until the earlier one is acknowledged. After a crash the
// transport delivers these messages again, and those that were acknowledged since the last
// commit. The default is 1024; a value below the window is raised to the window.
func WindowAhead(n int) SubscribeOption {
	return atLeastOne("WindowAhead", n, func(s *delivery.Settings) { s.Ahead = n })
}

// Concurrency bounds the handlers that run at the same time in the whole subscription. By
// default only the windows bound them.
func Concurrency(n int) SubscribeOption {
	return atLeastOne("Concurrency", n, func(s *delivery.Settings) { s.Concurrency = n })
}

// InFlight bounds the messages of the whole subscription that are in flight. A message is in
// flight from just before its first attempt until it is acknowledged, also during the pauses
// between attempts. All messages of a batch count. By default only the windows bound them.
func InFlight(n int) SubscribeOption {
	return atLeastOne("InFlight", n, func(s *delivery.Settings) { s.InFlight = n })
}

func atLeastOne(name string, n int, set func(*delivery.Settings)) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error {
		if n < 1 {
			return delivery.Invalid(fmt.Sprintf("%s must be at least 1, got %d", name, n))
		}
		set(s)
		return nil
	})
}

// Backoff sets the pause before a message that was not acknowledged is delivered again. The
// pause starts at lowest and doubles with every attempt, up to highest. Jitter shortens it by up
// to a half. The default is 100 ms to 10 s.
func Backoff(lowest, highest time.Duration) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error {
		if lowest <= 0 || highest < lowest {
			return delivery.Invalid(fmt.Sprintf("Backoff: lowest must be greater than 0 and highest at least lowest, got %v and %v", lowest, highest))
		}
		s.MinBackoff, s.MaxBackoff = lowest, highest
		return nil
	})
}

// CommitInterval sets how long the subscription gathers acknowledgements before it commits
// them. With 0 it commits each one at once. The default is the CommitInterval of the transport,
// see [Capabilities].
func CommitInterval(d time.Duration) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error {
		if d < 0 {
			return delivery.Invalid("the commit interval is negative: " + d.String())
		}
		s.CommitInterval = &d
		return nil
	})
}

// DeadLetterTopic sets the topic for messages that cannot be handled: those that cannot be
// decoded, and those for which the handler returns [DeadLetter]. A dead letter has the key,
// payload and headers of the original, and headers that name its origin and the cause; see
// package deadletter. The subscription acknowledges the original once the dead letter is
// acknowledged.
func DeadLetterTopic(topic string) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error {
		if topic == "" {
			return delivery.Invalid("the name of the dead-letter topic is empty")
		}
		s.DeadLetterTopic = topic
		return nil
	})
}

// AtMostOnce acknowledges and commits each message before its handler begins, so that no
// message is handled twice. If the commit fails, or if its result is unknown, the handler is not
// called and the message can be lost.
//
// There is no second attempt: a message whose handler returns an error is lost, unless the error
// is from DeadLetter. Messages that were committed and not handled when the process ends are
// lost, too. Order and the window are as without AtMostOnce. After its commit a message is
// handled even during a shutdown, or after its partition was revoked; its context may have ended
// then. Each message waits for a commit, and one commit can cover several messages.
func AtMostOnce() SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error { s.AtMostOnce = true; return nil })
}

// BatchSize sets how many messages a batch of [Bus.ConsumeBatches] has at most. The default is
// 64, or InFlight or Window if that is less. It is an error for a handler of single messages.
func BatchSize(n int) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error {
		switch {
		case n < 1:
			return delivery.Invalid(fmt.Sprintf("BatchSize must be at least 1, got %d", n))
		case s.Batch == nil:
			return errNoBatches
		}
		s.Batch.Size = n
		return nil
	})
}

// BatchAge sets how long [Bus.ConsumeBatches] waits for a batch to become full, from the time when
// it adds the oldest message. It then handles the incomplete batch. The default is 1 s. BatchAge is
// an error for a handler of single messages.
func BatchAge(d time.Duration) SubscribeOption {
	return delivery.Option(func(s *delivery.Settings) error {
		switch {
		case d <= 0:
			return delivery.Invalid("BatchAge must be greater than 0, got " + d.String())
		case s.Batch == nil:
			return errNoBatches
		}
		s.Batch.Age = d
		return nil
	})
}

var errNoBatches = delivery.Invalid("BatchSize and BatchAge have no effect on a handler of single messages: remove them")

// inBatches makes the subscription handle batches. It must be applied before all other options.
var inBatches = delivery.Option(func(s *delivery.Settings) error {
	s.Batch = &delivery.Batch{Age: time.Second}
	return nil
})

// resolve applies opts over the defaults and checks them against the transport.
func (b *Bus) resolve(topic string, opts []SubscribeOption) (*delivery.Settings, error) {
	s := delivery.Default()
	for _, set := range [][]SubscribeOption{b.cfg.subscribe, opts} {
		for _, o := range set {
			if err := s.Apply(o); err != nil {
				return nil, b.about(err, topic)
			}
		}
	}
	if err := s.Resolve(b.caps); err != nil {
		return nil, b.about(err, topic)
	}
	if topic != "" && s.DeadLetterTopic == topic {
		return nil, b.about(delivery.Invalid("the dead-letter topic is the subscribed topic, so the subscription would get its own dead letters: set another topic"), topic)
	}
	return s, nil
}

// about adds the operation and the topic to the error of an option.
func (b *Bus) about(err error, topic string) error {
	e, ok := err.(*Error) //nolint:errorlint // options return an unwrapped *Error, and only that may be copied
	if !ok {
		return err
	}
	c := *e
	c.Op, c.Topic = "subscribe", topic
	return &c
}
