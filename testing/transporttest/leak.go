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
	{name: "NoGoroutineIsLeft", run: leak, alone: true},
}

// leak uses everything that starts goroutines, and looks what is left.
func leak(t *testing.T, e *env) {
	var before goleak.Option
	for round := range 4 {
		if round == 1 { // what the first use starts once for the whole process is no leak
			before = goleak.IgnoreCurrent()
		}
		b := e.bus(t)
		topic := e.topic(t, b, partitions)
		got := newLog()
		handler := func(_ context.Context, d *bus.Delivery) error {
			got.add(d)
			if d.Attempt == 1 {
				return errPlease
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
		require.NoError(t, b.Close())
	}
	deadline := time.Now().Add(e.h.Patience)
	err := goleak.Find(before)
	for err != nil && time.Now().Before(deadline) {
		err = goleak.Find(before) // it waits a little itself
	}
	require.NoError(t, err)
}
