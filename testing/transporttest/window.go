package transporttest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var windowScenarios = []scenario{
	{name: "FailingMessageStopsPartitionAtWindowAhead", needs: requirements{needWindow, needPublishWithoutAck}, run: windowAhead},
	{name: "WindowBoundsUnacknowledgedMessages", needs: requirements{needWindow, needPublishWithoutAck}, run: windowInFlight},
	{name: "ConcurrencyBoundsRunningHandlers", needs: requirements{needWindow, needPublishWithoutAck}, run: concurrency},
}

func windowAhead(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const window, ahead, n = 4, 16, 500
	recovered := make(chan struct{})
	attempts, others := newRecorder(), newRecorder()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		if number(d) != 0 {
			others.add(d)
			return nil
		}
		attempts.add(d)
		select {
		case <-recovered:
			return nil
		default:
			return errNack
		}
	}, bus.Unordered(), bus.Window(window), bus.WindowAhead(ahead))
	e.publishing(t, b, topic, numbered(0, n, nil)...)
	others.count(t, e, ahead)
	// The partition has stopped if the failing message is redelivered repeatedly, and no
	// other message is delivered.
	attempts.count(t, e, len(attempts.snapshot())+10)
	require.LessOrEqual(t, len(others.snapshot()), ahead+window, "messages that are acknowledged ahead of the first unacknowledged one")
	close(recovered)
	others.distinct(t, e, n-1)
}

func windowInFlight(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	const window, n = 5, 50
	release := make(chan struct{})
	got := newRecorder()
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
	for i := range n - window { // each acknowledgement allows one more delivery
		require.Len(t, got.snapshot(), window+i)
		select {
		case release <- struct{}{}:
		case <-time.After(e.timeout()):
			require.FailNow(t, "no handler waits")
		}
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
	running := 0
	got := newRecorder()
	e.consume(t, b, topic, func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		running++
		if running > bound {
			got.fault("%d handlers run concurrently, more than %d", running, bound)
		}
		mu.Unlock()
		got.add(d)
		mu.Lock()
		defer mu.Unlock()
		running--
		return nil
	}, bus.Unordered(), bus.Window(32), bus.Concurrency(bound))
	e.publishing(t, b, topic, numbered(0, n, nil)...)
	got.distinct(t, e, n)
	got.requireNoFaults(t)
}
