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

// forgiving is a bus whose Close is not an error when a message was left
// unacknowledged: the suite leaves some on purpose, and takes every error for a
// fault.
type forgiving struct{ *bus.Bus }

func (f forgiving) Close() error {
	if err := f.Bus.Close(); err != nil && bus.CodeOf(err) != bus.CodeDeadlineExceeded {
		return err
	}
	return nil
}

// suiteBuses returns what makes watermill's publishers and subscribers: a bus for
// each on one log. Without a group the name is "".
func suiteBuses(t *testing.T) tests.ConsumerGroupPubSubConstructor {
	l, err := memory.NewLog()
	require.NoError(t, err)
	open := func(t *testing.T, opts ...bus.SubscribeOption) forgiving {
		tr, err := memory.New(memory.WithLog(l))
		require.NoError(t, err)
		opts = append(opts, bus.StartAt(bus.Oldest()), bus.Backoff(time.Millisecond, 10*time.Millisecond))
		b, err := bus.New(tr, bus.WithCreateTopics(bus.TopicSpec{}), bus.WithSubscribeDefaults(opts...),
			bus.WithCloseTimeout(100*time.Millisecond))
		require.NoError(t, err)
		f := forgiving{b}
		t.Cleanup(func() { require.NoError(t, f.Close()) }) // the suite doesn't close every one it makes
		return f
	}
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		if group == "" {
			return open(t), open(t)
		}
		return open(t), open(t, bus.Group(group))
	}
}

// watermill's own suite, over package bus, with a group.
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

// And without: every subscriber sees everything, from the oldest on.
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
