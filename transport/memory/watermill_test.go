package memory_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/memory"
)

// lenientBus is a bus whose Close returns nil although messages are unacknowledged. The suite
// leaves some on purpose, and fails on every error.
type lenientBus struct{ *bus.Bus }

func (f lenientBus) Close() error {
	if err := f.Bus.Close(); err != nil && bus.CodeOf(err) != bus.CodeDeadlineExceeded {
		return err
	}
	return nil
}

// suiteBuses returns the constructor of publishers and subscribers for watermill's suite:
// each is a bus, and all share one log. The group "" means no group.
func suiteBuses(t *testing.T) tests.ConsumerGroupPubSubConstructor {
	l, err := memory.NewLog()
	require.NoError(t, err)
	open := func(t *testing.T, opts ...bus.SubscribeOption) lenientBus {
		tr, err := memory.New(memory.WithLog(l))
		require.NoError(t, err)
		opts = append(opts, bus.FromOldest(), bus.Backoff(time.Millisecond, 10*time.Millisecond))
		b, err := bus.New(tr, bus.WithCreateTopics(bus.TopicSpec{}), bus.WithSubscribeDefaults(opts...),
			bus.WithCloseTimeout(100*time.Millisecond))
		require.NoError(t, err)
		f := lenientBus{b}
		t.Cleanup(func() { require.NoError(t, f.Close()) }) // the suite does not close all of them
		return f
	}
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		if group == "" {
			return open(t), open(t)
		}
		return open(t), open(t, bus.Group(group))
	}
}

// TestWatermillSuite runs watermill's suite over package bus, in a group.
func TestWatermillSuite(t *testing.T) {
	t.Parallel()
	buses := suiteBuses(t)
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:      true,
		ExactlyOnceDelivery: false,
		GuaranteedOrder:     true,
		Persistent:          true,
	}, func(t *testing.T) (message.Publisher, message.Subscriber) { return buses(t, "group") }, buses)
}

// TestWatermillSuiteWithoutGroup runs it without a group: every subscriber receives every
// message from the oldest on.
func TestWatermillSuiteWithoutGroup(t *testing.T) {
	t.Parallel()
	buses := suiteBuses(t)
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:                   false,
		ExactlyOnceDelivery:              false,
		GuaranteedOrder:                  true,
		Persistent:                       true,
		NewSubscriberReceivesOldMessages: true,
		ForceShort:                       true, // TestWatermillSuite runs the long version
	}, func(t *testing.T) (message.Publisher, message.Subscriber) { return buses(t, "") }, nil)
}
