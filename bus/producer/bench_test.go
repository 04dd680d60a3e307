package producer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/producer"
	"github.com/trunkline/trunkline/transport/memory"
)

// BenchmarkSend measures one message on the memory transport, with a producer and with bus.Publish.
func BenchmarkSend(b *testing.B) {
	for name, send := range map[string]func(*testing.B, *bus.Bus, *producer.Producer){
		"publish": func(b *testing.B, bs *bus.Bus, _ *producer.Producer) {
			m := msg("key", "payload")
			for b.Loop() {
				if err := bs.Publish(topic, m); err != nil {
					b.Fatal(err)
				}
			}
		},
		"send": func(b *testing.B, _ *bus.Bus, p *producer.Producer) {
			m := msg("key", "payload")
			for b.Loop() {
				if _, err := p.Send(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
		},
		"async": func(b *testing.B, _ *bus.Bus, p *producer.Producer) {
			m := msg("key", "payload")
			for b.Loop() {
				if _, err := p.SendAsync(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			t, err := memory.New()
			require.NoError(b, err)
			bs, err := bus.New(t)
			require.NoError(b, err)
			defer bs.Close()
			require.NoError(b, bs.CreateTopic(b.Context(), bus.TopicSpec{Name: topic, Partitions: 8}))
			p, err := producer.New(bs, topic)
			require.NoError(b, err)
			b.ReportAllocs()
			send(b, bs, p)
			require.NoError(b, p.Shutdown(b.Context()))
		})
	}
}
