package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// suiteBus is a bus whose Close returns nil if it times out because of an unacknowledged
// message. watermill's suite leaves messages unacknowledged on purpose, and fails at any
// error of Close.
type suiteBus struct{ *bus.Bus }

func (f suiteBus) Close() error {
	if err := f.Bus.Close(); err != nil && bus.CodeOf(err) != bus.CodeDeadlineExceeded {
		return err
	}
	return nil
}

// suiteBuses returns the constructor of publishers and subscribers for watermill's suite. Each
// is a bus.
func suiteBuses(t *testing.T) tests.ConsumerGroupPubSubConstructor {
	b := kafkatb.New(t)
	open := func(t *testing.T, closeTime time.Duration, opts ...bus.SubscribeOption) suiteBus {
		k, err := kafka.New(b.Addrs())
		require.NoError(t, err)
		opts = append(opts, bus.FromOldest(), bus.Backoff(time.Millisecond, 10*time.Millisecond))
		x, err := bus.New(k, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}),
			bus.WithSubscribeDefaults(opts...), bus.WithCloseTimeout(closeTime))
		require.NoError(t, err)
		f := suiteBus{x}
		t.Cleanup(func() { require.NoError(t, f.Close()) }) // the suite does not close all of them
		require.NoError(t, x.Ready(testContext(t)))
		return f
	}
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		if group == "" { // the suite leaves unread messages in most of these
			return open(t, time.Second), open(t, time.Second)
		}
		// A member that does not leave the group in time blocks the next subscriber until the
		// session time-out, which is almost as long as the suite waits for a message.
		return open(t, 5*time.Second), open(t, 5*time.Second, bus.Group(group))
	}
}

// TestWatermillSuite runs watermill's test suite for implementations of Pub/Sub.
func TestWatermillSuite(t *testing.T) {
	t.Parallel()
	buses := suiteBuses(t)
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:      true,
		ExactlyOnceDelivery: false,
		GuaranteedOrder:     true,
		Persistent:          true,
	}, func(t *testing.T) (message.Publisher, message.Subscriber) {
		// all subscribers of a scenario share a group; the scenarios have different names
		return buses(t, strings.ReplaceAll(t.Name(), "/", "-"))
	}, buses)
}

// TestWatermillSuiteWithoutGroup runs watermill's suite with subscribers that each read
// everything from the oldest message.
func TestWatermillSuiteWithoutGroup(t *testing.T) {
	t.Parallel()
	buses := suiteBuses(t)
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:                   false,
		ExactlyOnceDelivery:              false,
		GuaranteedOrder:                  true,
		Persistent:                       true,
		NewSubscriberReceivesOldMessages: true,
		ForceShort:                       true, // TestWatermillSuite runs the long suite
	}, func(t *testing.T) (message.Publisher, message.Subscriber) { return buses(t, "") }, nil)
}
