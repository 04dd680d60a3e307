package bus_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestLag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport, err := memory.New()
		require.NoError(t, err)
		b, err := bus.New(transport)
		require.NoError(t, err)
		require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "orders", Partitions: 1}))
		publish := func(n int) {
			for i := range n {
				require.NoError(t, b.Publish("orders", message.NewMessage(fmt.Sprint(i), nil)))
			}
		}
		publish(3)
		handle := make(chan struct{})
		sub, err := b.Consume(t.Context(), "orders", func(ctx context.Context, _ *bus.Delivery) error {
			select {
			case <-handle:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, bus.Group("billing"), bus.OrderByPartition())
		require.NoError(t, err)
		require.NoError(t, sub.Ready(t.Context()))
		synctest.Wait()
		require.Equal(t, []bus.PartitionLag{{Partition: 0, Position: 0, End: 3, Records: 3}}, sub.Lag(), "what a handler has is not acknowledged")
		for done := range int64(3) {
			handle <- struct{}{}
			synctest.Wait()
			require.Equal(t, []bus.PartitionLag{{Partition: 0, Position: done + 1, End: 3, Records: 2 - done}}, sub.Lag())
		}
		publish(2)
		synctest.Wait()
		require.EqualValues(t, 2, sub.Lag()[0].Records)
		close(handle)
		require.NoError(t, b.Close())
		require.Empty(t, sub.Lag(), "it holds nothing any more")
	})
}

func TestLagOfATransportThatDoesNotKnow(t *testing.T) {
	t.Parallel()
	transport, err := gochannel.New()
	require.NoError(t, err)
	b, err := bus.New(transport)
	require.NoError(t, err)
	sub, err := b.Consume(t.Context(), "orders", func(context.Context, *bus.Delivery) error { return nil })
	require.NoError(t, err)
	require.NoError(t, sub.Ready(t.Context()))
	require.Empty(t, sub.Lag())
	require.NoError(t, b.Close())
}
