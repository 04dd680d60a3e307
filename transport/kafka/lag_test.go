package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestLagShrinksAsMessagesAreHandled(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]bus.SubscribeOption{"group": bus.Group(kafkatb.Name(t)), "reader": bus.NoGroup()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			broker := kafkatb.New(t)
			topic := kafkatb.Topic(t, broker, 1)
			transport, err := kafka.New(broker.Addrs())
			require.NoError(t, err)
			b, err := bus.New(transport)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, b.Close()) })
			require.NoError(t, b.Ready(ctx))
			for i := range 5 {
				require.NoError(t, b.Publish(topic, message.NewMessage(fmt.Sprint(i), nil)))
			}
			handled := make(chan int64)
			sub, err := b.Consume(ctx, topic, func(ctx context.Context, d *bus.Delivery) error {
				select {
				case handled <- d.Record.Offset:
				case <-ctx.Done():
				}
				return ctx.Err()
			}, option, bus.FromOldest(), bus.OrderByPartition())
			require.NoError(t, err)
			require.NoError(t, sub.Ready(ctx))
			lag := func() int64 {
				for _, l := range sub.Lag() {
					return l.Records
				}
				return -1
			}
			require.Eventually(t, func() bool { return lag() == 5 }, time.Minute, 5*time.Millisecond)
			for range 2 {
				receive(t, handled)
			}
			require.Eventually(t, func() bool { return lag() == 3 }, time.Minute, 5*time.Millisecond)
			for range 3 {
				receive(t, handled)
			}
			require.Eventually(t, func() bool { return lag() == 0 }, time.Minute, 5*time.Millisecond)
		})
	}
}
