package transporttest

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var stallScenarios = []scenario{
	{name: "StalledSubscriberCostsNoGoroutines", needs: needBounds, run: stalled, alone: true},
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

	before, most := runtime.NumGoroutine(), 0
	const batches, size = 20, 1000
	for i := range batches {
		soon, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		ms := numbered(i*size, size, nil)
		for _, m := range ms {
			m.SetContext(soon)
		}
		// Some of it has no room and is given up on: not what this is about.
		if err := b.Publish(topic, ms...); err != nil {
			failed, ok := errors.AsType[*bus.PublishError](err)
			require.True(t, ok, "%v", err)
			require.Len(t, failed.Outcomes, size)
		}
		most = max(most, runtime.NumGoroutine())
		stop()
	}
	e.awaits(t, begun, "the handler begins")
	// Windows have a goroutine for each message that is being handled, transports a
	// few of their own. One for each message would be thousands.
	require.Less(t, most-before, 200, "goroutines after %d publishes", batches*size)

	if e.h.AckToPublish { // one that nobody acknowledges may hold up everything
		return
	}
	e.publish(t, b, other, numbered(0, 3, nil)...)
	got.distinct(t, e, 3)
	e.close(t, e.consume(t, b, topic, got.handler))
	cancel()
	e.awaits(t, s.Done(), "the stalled subscription ends")
}
