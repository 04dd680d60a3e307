package consumer_test

import (
	"context"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

// BenchmarkConsume measures one message with a handler that does nothing, on the memory
// transport, with a subscription of the bus and with a managed consumer.
func BenchmarkConsume(b *testing.B) {
	for name, begin := range map[string]func(*bus.Bus, bus.Handler) (func(), error){
		"bus": func(on *bus.Bus, h bus.Handler) (func(), error) {
			s, err := on.Consume(context.Background(), "t", h, bus.Group("g"), bus.OrderByKey(), bus.Window(256))
			return func() { _ = s.Shutdown(context.Background()) }, err
		},
		"consumer": func(on *bus.Bus, h bus.Handler) (func(), error) {
			c, err := consumer.New(on, "t", h, bus.Group("g"), bus.OrderByKey(), bus.Concurrency(256))
			if err != nil {
				return nil, err
			}
			return func() { _ = c.Shutdown(context.Background()) }, c.Start()
		},
	} {
		b.Run(name, func(b *testing.B) {
			tr, err := memory.New()
			require.NoError(b, err)
			require.NoError(b, tr.CreateTopic(b.Context(), driver.TopicSpec{Name: "t", Partitions: 8}))
			on, err := bus.New(tr)
			require.NoError(b, err)
			defer on.Close()
			ms := make([]*message.Message, 1000)
			for i := range ms {
				ms[i] = message.NewMessage("id", make([]byte, 100))
				bus.SetKey(ms[i], string(rune('a'+i%500)))
			}
			for left := b.N; left > 0; left -= len(ms) {
				require.NoError(b, on.Publish("t", ms[:min(left, len(ms))]...))
			}
			var all sync.WaitGroup
			all.Add(b.N)
			b.ReportAllocs()
			b.ResetTimer()
			end, err := begin(on, func(context.Context, *bus.Delivery) error {
				all.Done()
				return nil
			})
			require.NoError(b, err)
			all.Wait()
			b.StopTimer()
			end()
		})
	}
}
