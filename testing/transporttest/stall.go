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
	{name: "StalledSubscriberCostsNothing", needs: needs{needBounds}, run: stalled, alone: true},
	{name: "PoisonedKeyKeepsMemoryFlat", needs: needs{needBounds, needOrder, needKeys, needWindow, needFreePublish}, run: poisonFlat, alone: true},
}

const (
	floodBatches, floodBatch = 20, 1000
	// floodGoroutines bounds those that come up while messages pile up. Connections and
	// timers take a few; one for each message would be thousands.
	floodGoroutines = 50
	// floodBytes bounds what 20,000 small messages may take, in a log in this process
	// too. One goroutine for each would take more for their stacks alone.
	floodBytes = 32 << 20
)

// flood publishes 20,000 messages, numbered from 2 on, and checks that they cost memory for themselves at
// the most, and no goroutines.
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
		// Some of it has no room and is given up on: not what this is about.
		if err := b.Publish(topic, ms...); err != nil {
			failed, ok := errors.AsType[*bus.PublishError](err)
			require.True(t, ok, "%v", err)
			require.Len(t, failed.Outcomes, floodBatch)
		}
		stop()
		if i == 0 { // connections are made, windows filled
			goroutines, heap = runtime.NumGoroutine(), heapInUse()
		}
		most = max(most, runtime.NumGoroutine())
	}
	const n = floodBatches * floodBatch
	require.Less(t, most-goroutines, floodGoroutines, "goroutines after %d publishes, beside the %d there were", n, goroutines)
	require.Less(t, int64(heapInUse())-int64(heap), int64(floodBytes), "bytes on the heap after %d publishes", n)
}

// heapInUse is what is reachable.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// stalled publishes 20,000 messages to a subscriber that reads none.
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
	got := newLog()
	e.consume(t, b, other, got.handler)
	// The first has all the time it takes; publishing may last until it is given up.
	first, published := numbered(0, 1, nil), make(chan struct{})
	first[0].SetContext(ctx)
	go func() {
		defer close(published)
		_ = b.Publish(topic, first...)
	}()
	t.Cleanup(func() { <-published }) // ctx has ended then
	e.awaits(t, begun, "the handler begins")
	flood(t, b, topic)

	if e.h.AckToPublish { // one that nobody acknowledges may hold up everything
		return
	}
	e.publish(t, b, other, numbered(0, 3, nil)...)
	got.distinct(t, e, 3)
	e.close(t, e.consume(t, b, topic, got.handler))
	cancel()
	e.awaits(t, s.Done(), "the stalled subscription ends")
}

// poisonFlat publishes 20,000 messages of which one can't be handled: the partition
// stops at the window, and nothing is gathered behind it.
func poisonFlat(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const window, ahead = 16, 64
	poisoned, others := newLog(), newLog()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		if number(d) == 0 {
			poisoned.add(d)
			return errPlease
		}
		others.add(d)
		return nil
	}, bus.OrderByKey(), bus.Window(window), bus.WindowAhead(ahead))
	e.publish(t, b, topic, numbered(0, 2, func(n int) string { return fmt.Sprint("first-", n) })...)
	flood(t, b, topic)
	poisoned.count(t, e, len(poisoned.snapshot())+10)
	require.LessOrEqual(t, len(others.snapshot()), ahead+window, "acknowledged beyond the first that is not")
	others.count(t, e, 1) // other keys go on until then
}
