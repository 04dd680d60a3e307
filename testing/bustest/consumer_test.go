package bustest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/testing/bustest"
)

func TestKitWithAManagedConsumer(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("orders", "orders.dead"), bustest.WithGoroutineCheck())
	c, err := consumer.New(k.Bus(), "orders", func(_ context.Context, d *bus.Delivery) error {
		if string(d.Payload) == "bad" {
			return errors.New("it is bad")
		}
		return nil
	}, bus.Group("g"), consumer.WithAttempts(2), bus.Backoff(time.Millisecond, time.Millisecond),
		bus.DeadLetterTopic("orders.dead"))
	require.NoError(t, err)
	require.NoError(t, c.Start())
	k.Publish("orders", bustest.Payload("good"))
	k.Publish("orders", bustest.Payload("bad"))
	k.ExpectDelivered("orders", bustest.Payload("good"), bustest.Acknowledged())
	k.ExpectDelivered("orders", bustest.Payload("bad"), bustest.FailedWith(bus.CodeUnknown))
	k.ExpectDelivered("orders", bustest.Payload("bad"), bustest.Redelivered(), bustest.DeadLettered())
	k.Expect("orders.dead", bustest.Payload("bad"), bustest.DeadLetterFrom("orders"), bustest.DeadLetterCode(bus.CodeUnknown))
	k.ExpectLag("g", "orders", 0)
	require.NoError(t, c.StopAndWait(t.Context()))
	k.Publish("orders", bustest.Payload("good"))
	k.WaitIdle()
	k.ExpectLag("g", "orders", 1)
	require.NoError(t, c.Start())
	k.ExpectLag("g", "orders", 0)
	require.NoError(t, c.Shutdown(t.Context()))
}

func TestEachMessageOfABatchIsADelivery(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("t"))
	s, err := k.Bus().ConsumeBatches(t.Context(), "t", func(_ context.Context, ds []*bus.Delivery) error {
		var failed bus.BatchError
		if ds[0].Attempt == 1 {
			failed.Add(0, bus.RetryAfter(0, nil))
		}
		return failed.Err()
	}, bus.Group("g"), bus.BatchSize(2), bus.BatchAge(time.Hour))
	require.NoError(t, err)
	require.NoError(t, s.Ready(t.Context()))
	k.Publish("t", bustest.Payload("a"))
	k.Publish("t", bustest.Payload("b"))
	k.ExpectDelivered("t", bustest.Payload("b"), bustest.Acknowledged())
	k.ExpectDelivered("t", bustest.Payload("a"), bustest.Retried())
	k.ExpectDelivered("t", bustest.Payload("a"), bustest.Acknowledged())
	k.ExpectCommitted("g", "t", 0, 2)
}
