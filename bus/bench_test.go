package bus_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/memory"
)

// BenchmarkPublishDeliverAck measures one message: creating, publishing, delivering and
// acknowledging it.
func BenchmarkPublishDeliverAck(b *testing.B) {
	for name, opts := range map[string][]bus.SubscribeOption{
		"by partition": {bus.OrderByPartition()},
		"by key":       {bus.OrderByKey()},
		"group":        {bus.Group("g"), bus.OrderByPartition()},
	} {
		b.Run(name, func(b *testing.B) {
			t, err := memory.New()
			require.NoError(b, err)
			q, err := bus.New(t, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}))
			require.NoError(b, err)
			payload := make([]byte, 128)
			done := make(chan struct{})
			var left atomic.Int64
			left.Store(int64(b.N))
			sub, err := q.Consume(b.Context(), "t", func(context.Context, *bus.Delivery) error {
				if left.Add(-1) == 0 {
					close(done)
				}
				return nil
			}, opts...)
			require.NoError(b, err)
			require.NoError(b, sub.Ready(b.Context()))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := q.Publish("t", message.NewMessage("id", payload)); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			b.StopTimer()
			require.NoError(b, q.Close())
		})
	}
}
