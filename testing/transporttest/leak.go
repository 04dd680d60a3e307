package transporttest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/bus"
)

var leakScenarios = []scenario{
	{name: "CloseLeavesNoGoroutines", run: leak, alone: true},
}

// leak uses everything that starts goroutines, and then looks for goroutines that are left.
func leak(t *testing.T, e *env) {
	var before goleak.Option
	for round := range 4 {
		if round == 1 { // goroutines that the first use starts once per process are not leaks
			before = goleak.IgnoreCurrent()
		}
		b := e.bus(t)
		topic := e.topic(t, b, partitions)
		got := newRecorder()
		handler := func(_ context.Context, d *bus.Delivery) error {
			got.add(d)
			if d.Attempt == 1 {
				return errNack
			}
			return nil
		}
		e.consume(t, b, topic, handler)
		if e.caps.Ordered && e.caps.Keys {
			e.consume(t, b, topic, handler, bus.OrderByKey())
		}
		if e.caps.Groups {
			e.consume(t, b, topic, handler, bus.Group(e.name("group")))
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		channel, err := b.Subscribe(ctx, topic)
		require.NoError(t, err)
		go func() {
			for m := range channel {
				m.Ack()
			}
		}()
		e.publish(t, b, topic, numbered(0, 50, func(int) string { return "key" })...)
		got.distinct(t, e, 50)
		cancel()
		e.closeBus(t, b)
	}
	deadline := time.Now().Add(e.timeout())
	err := goleak.Find(before)
	for err != nil && time.Now().Before(deadline) {
		err = goleak.Find(before) // it waits a little itself
	}
	require.NoError(t, err)
}
