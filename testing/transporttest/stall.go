package transporttest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var stallScenarios = []scenario{
	{name: "BlockedSubscriberCostsNoGoroutinesAndBoundedMemory", needs: requirements{needBoundedGoroutines}, run: stalled, alone: true},
	{name: "FailingKeyKeepsMemoryBounded", needs: requirements{needBoundedGoroutines, needOrder, needKeys, needWindow, needPublishWithoutAck}, run: failingKey, alone: true},
}

const (
	floodBatches, floodBatch = 20, 1000
	// floodGoroutines bounds the goroutines that start during a flood. Connections and timers
	// need a few. One goroutine for each message would be thousands.
	floodGoroutines = 50
	// floodBytes bounds the memory for 20,000 small messages, even if the log is in this process.
	// A goroutine for each message would need more memory for its stack.
	floodBytes = 32 << 20
)

// flood publishes 20,000 messages, numbered from 2 on. It checks that they start fewer than
// floodGoroutines goroutines and need less than floodBytes of memory.
func flood(t *testing.T, b *bus.Bus, topic string) {
	t.Helper()
	var goroutines, most int
	var heap uint64
	for i := range floodBatches {
		ms := numbered(2+i*floodBatch, floodBatch, func(n int) string { return fmt.Sprint("key-", n%50) })
		soon, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		for _, m := range ms {
			m.SetContext(soon)
		}
		// Messages that find no space may time out.
		if err := b.Publish(topic, ms...); err != nil {
			failed, ok := errors.AsType[*bus.PublishError](err)
			require.True(t, ok, "%v", err)
			require.Len(t, failed.Outcomes, floodBatch)
		}
		stop()
		if i == 0 { // from now on connections exist and windows are full
			goroutines, heap = runtime.NumGoroutine(), heapInUse()
		}
		most = max(most, runtime.NumGoroutine())
	}
	const n = floodBatches * floodBatch
	require.Less(t, most-goroutines, floodGoroutines, "goroutines after %d publishes, in addition to %d before", n, goroutines)
	require.Less(t, int64(heapInUse())-int64(heap), int64(floodBytes), "bytes on the heap after %d publishes", n)
}

// heapInUse returns the size of the reachable heap.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// stalled publishes 20,000 messages to a subscriber whose handler is blocked.
func stalled(t *testing.T, e *env) {
	b := e.bus(t)
	topic, other := e.topic(t, b, 1), e.topic(t, b, 1)
	begun := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := b.Consume(ctx, topic, func(ctx context.Context, _ *bus.Delivery) error {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return ctx.Err()
	}, bus.Concurrency(1))
	require.NoError(t, err)
	e.ready(t, s)
	got := newRecorder()
	e.consume(t, b, other, got.handler)
	// The first message has no deadline. Its publishing may last until ctx ends.
	first, published := numbered(0, 1, nil), make(chan struct{})
	first[0].SetContext(ctx)
	go func() {
		defer close(published)
		_ = b.Publish(topic, first...)
	}()
	cleanupAwait(t, e, published, "Publish returns after its context has ended")
	await(t, e, begun, "the handler begins")
	flood(t, b, topic)

	if e.h.PublishWaitsForAck { // the unacknowledged message may block the whole transport
		return
	}
	e.publish(t, b, other, numbered(0, 3, nil)...)
	got.distinct(t, e, 3)
	e.close(t, e.consume(t, b, topic, got.handler))
	cancel()
	await(t, e, s.Done(), "the blocked subscription ends")
}

// failingKey publishes 20,000 messages after one that always fails. The partition stops at the
// window, and nothing accumulates behind it.
func failingKey(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const window, ahead = 16, 64
	failing, others := newRecorder(), newRecorder()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		if number(d) == 0 {
			failing.add(d)
			return errNack
		}
		others.add(d)
		return nil
	}, bus.OrderByKey(), bus.Window(window), bus.WindowAhead(ahead))
	e.publish(t, b, topic, numbered(0, 2, func(n int) string { return fmt.Sprint("first-", n) })...)
	flood(t, b, topic)
	failing.count(t, e, len(failing.snapshot())+10)
	require.LessOrEqual(t, len(others.snapshot()), ahead+window, "messages that are acknowledged ahead of the first unacknowledged one")
	others.count(t, e, 1) // other keys continue until then
}
