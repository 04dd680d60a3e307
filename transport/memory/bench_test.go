package memory_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

type discard struct{}

func (discard) Published(_ *driver.Outgoing, r driver.Outcome) {
	if r.Err != nil {
		panic(r.Err)
	}
}

// BenchmarkPublishFetchCommit measures one message of 128 bytes through the driver, alone
// and in batches.
func BenchmarkPublishFetchCommit(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			defer cancel()
			tr, err := memory.New()
			require.NoError(b, err)
			defer func() { require.NoError(b, tr.Close(ctx)) }()
			require.NoError(b, tr.CreateTopic(ctx, driver.TopicSpec{Name: "t"}))
			s, err := tr.Subscribe(ctx, driver.Subscription{Topic: "t", Group: "g", MaxFetch: 512})
			require.NoError(b, err)
			event, err := s.Next(ctx)
			require.NoError(b, err)
			p := event.Added[0]

			out := make([]driver.Outgoing, batch)
			for i := range out {
				out[i] = driver.Outgoing{Context: ctx, Topic: "t", Partition: driver.AnyPartition, Key: []byte("device"),
					UUID: "u", Payload: make([]byte, 128), Index: i, Sink: discard{}}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				tr.Publish(out)
				records, err := p.Fetch(ctx)
				if err != nil || p.Commit(ctx, records[len(records)-1].Offset+1, "") != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPublishToWaitingFetch measures one message to a reader that waits in another
// goroutine.
func BenchmarkPublishToWaitingFetch(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	tr, err := memory.New()
	require.NoError(b, err)
	defer func() { require.NoError(b, tr.Close(ctx)) }()
	require.NoError(b, tr.CreateTopic(ctx, driver.TopicSpec{Name: "t"}))
	s, err := tr.Subscribe(ctx, driver.Subscription{Topic: "t", Group: "g", MaxFetch: 512})
	require.NoError(b, err)
	event, err := s.Next(ctx)
	require.NoError(b, err)
	p := event.Added[0]
	done := make(chan error, 1)
	go func() {
		for next := int64(0); next < int64(b.N); {
			records, err := p.Fetch(ctx)
			if err != nil {
				done <- err
				return
			}
			next = records[len(records)-1].Offset + 1
			if err := p.Commit(ctx, next, ""); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	out := []driver.Outgoing{{Context: ctx, Topic: "t", Partition: driver.AnyPartition, UUID: "u", Payload: make([]byte, 128), Sink: discard{}}}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		tr.Publish(out)
	}
	require.NoError(b, <-done)
}
