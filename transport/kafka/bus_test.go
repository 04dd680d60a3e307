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

// forgiving is a bus whose Close is not an error when a message was left
// unacknowledged: the suite leaves some on purpose, and takes every error for a fault.
type forgiving struct{ *bus.Bus }

func (f forgiving) Close() error {
	if err := f.Bus.Close(); err != nil && bus.CodeOf(err) != bus.CodeDeadlineExceeded {
		return err
	}
	return nil
}

// suiteBuses returns what makes watermill's publishers and subscribers: a bus for each.
func suiteBuses(t *testing.T) tests.ConsumerGroupPubSubConstructor {
	b := kafkatb.New(t)
	open := func(t *testing.T, closeTime time.Duration, opts ...bus.SubscribeOption) forgiving {
		k, err := kafka.New(b.Addrs())
		require.NoError(t, err)
		opts = append(opts, bus.FromOldest(), bus.Backoff(time.Millisecond, 10*time.Millisecond))
		x, err := bus.New(k, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}),
			bus.WithSubscribeDefaults(opts...), bus.WithCloseTimeout(closeTime))
		require.NoError(t, err)
		f := forgiving{x}
		t.Cleanup(func() { require.NoError(t, f.Close()) }) // the suite doesn't close every one it makes
		require.NoError(t, x.Ready(testContext(t)))
		return f
	}
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		if group == "" { // the suite reads few of these to the end
			return open(t, time.Second), open(t, time.Second)
		}
		// Who has no time to leave the group holds up the next subscriber until it is taken
		// for dead, for almost as long as the suite waits for a message.
		return open(t, 5*time.Second), open(t, 5*time.Second, bus.Group(group))
	}
}

// TestWatermillSuite is watermill's own, for everything that calls itself a Pub/Sub.
func TestWatermillSuite(t *testing.T) {
	t.Parallel()
	buses := suiteBuses(t)
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:      true,
		ExactlyOnceDelivery: false,
		GuaranteedOrder:     true,
		Persistent:          true,
	}, func(t *testing.T) (message.Publisher, message.Subscriber) {
		// one group for all subscribers of a scenario, whose name is new each time
		return buses(t, strings.ReplaceAll(t.Name(), "/", "-"))
	}, buses)
}

// Without a group every subscriber sees everything, from the oldest on.
func TestWatermillSuiteWithoutGroup(t *testing.T) {
	t.Parallel()
	buses := suiteBuses(t)
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:                   false,
		ExactlyOnceDelivery:              false,
		GuaranteedOrder:                  true,
		Persistent:                       true,
		NewSubscriberReceivesOldMessages: true,
		ForceShort:                       true, // the long one is above
	}, func(t *testing.T) (message.Publisher, message.Subscriber) { return buses(t, "") }, nil)
}
