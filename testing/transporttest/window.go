package transporttest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var windowScenarios = []scenario{
	{name: "PoisonStopsThePartitionAtTheWindow", needs: needs{needWindow, needFreePublish}, run: windowAhead},
	{name: "WindowBoundsWhatIsInFlight", needs: needs{needWindow, needFreePublish}, run: windowInFlight},
	{name: "ConcurrencyBoundsHandlers", needs: needs{needWindow, needFreePublish}, run: concurrency},
}

func windowAhead(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const window, ahead, n = 4, 16, 500
	heal := make(chan struct{})
	attempts, others := newLog(), newLog()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		if number(d) != 0 {
			others.add(d)
			return nil
		}
		attempts.add(d)
		select {
		case <-heal:
			return nil
		default:
			return errPlease
		}
	}, bus.Unordered(), bus.Window(window), bus.WindowAhead(ahead))
	e.publishing(t, b, topic, numbered(0, n, nil)...)
	others.count(t, e, ahead)
	// The partition has stopped if the poisoned message comes again and again, and
	// nothing else does.
	attempts.count(t, e, len(attempts.snapshot())+10)
	require.LessOrEqual(t, len(others.snapshot()), ahead+window, "acknowledged beyond the first that is not")
	close(heal)
	others.distinct(t, e, n-1)
}

func windowInFlight(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const window, n = 5, 50
	release := make(chan struct{})
	got := newLog()
	e.consume(t, b, topic, func(ctx context.Context, d *bus.Delivery) error {
		got.add(d)
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, bus.Unordered(), bus.Window(window))
	e.publishing(t, b, topic, numbered(0, n, nil)...)
	got.count(t, e, window)
	for i := range n - window { // one goes, one comes
		require.Len(t, got.snapshot(), window+i)
		release <- struct{}{}
		got.count(t, e, window+i+1)
	}
	close(release)
	require.ElementsMatch(t, sequence(0, n), got.numbers())
}

func concurrency(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, partitions)
	const bound, n = 3, 200
	var mu sync.Mutex
	running, most := 0, 0
	got := newLog()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		got.add(d)
		mu.Lock()
		defer mu.Unlock()
		running--
		return nil
	}, bus.Unordered(), bus.Window(32), bus.Concurrency(bound))
	e.publishing(t, b, topic, numbered(0, n, nil)...)
	got.distinct(t, e, n)
	mu.Lock()
	defer mu.Unlock()
	require.LessOrEqual(t, most, bound)
}
