package rpc_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

// BenchmarkCall is a call over the memory transport, 128 bytes each way, by one
// caller and by 64, to a topic with 8 partitions.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("c%d", callers), func(b *testing.B) {
			ctx := context.Background()
			tr, err := bus.Open(ctx, "memory://")
			require.NoError(b, err)
			defer tr.Close()
			require.NoError(b, tr.EnsureTopic(ctx, bus.TopicSpec{Name: "bench", Partitions: 8}))
			s, err := rpc.NewServer(tr)
			require.NoError(b, err)
			require.NoError(b, rpc.Handle(s, "echo", func(_ context.Context, body *[]byte) (*[]byte, error) { return body, nil }))
			require.NoError(b, s.Listen("bench"))
			defer s.Close()
			require.NoError(b, s.Ready(ctx))
			c, err := rpc.NewClient(tr)
			require.NoError(b, err)
			defer c.Close()
			require.NoError(b, c.Ready(ctx))

			body := make([]byte, 128)
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan error, callers)
			b.ReportAllocs()
			b.ResetTimer()
			for range callers {
				go func() {
					for left.Add(-1) >= 0 {
						if _, err := rpc.Call[[]byte](ctx, c, "bench", "echo", body); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range callers {
				require.NoError(b, <-done)
			}
		})
	}
}
