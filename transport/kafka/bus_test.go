package kafka_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// TestWatermillSuite is watermill's own, for everything that calls itself a Pub/Sub.
func TestWatermillSuite(t *testing.T) {
	b := kafkatb.New(t)
	construct := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		k, err := kafka.New(b.Addrs())
		require.NoError(t, err)
		opts := []bus.Option{bus.WithCreateTopics(bus.TopicSpec{Partitions: 1})}
		if group != "" {
			opts = append(opts, bus.WithSubscribeDefaults(bus.Group(group)))
		} else {
			opts = append(opts, bus.WithSubscribeDefaults(bus.StartAt(bus.Oldest())))
		}
		x, err := bus.New(k, opts...)
		require.NoError(t, err)
		return x, x
	}
	tests.TestPubSub(t,
		tests.Features{
			ConsumerGroups: true, ExactlyOnceDelivery: false, GuaranteedOrder: true, Persistent: true,
		},
		func(t *testing.T) (message.Publisher, message.Subscriber) { return construct(t, kafkatb.Name(t)) },
		construct,
	)
}
