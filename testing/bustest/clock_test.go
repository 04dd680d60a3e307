package bustest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
)

// Inside testing/synctest, Advance fires the timer of a back-off. No real time passes.
func TestBackoffOfAnHourTakesNoTimeInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := bustest.New(t, bustest.WithTopics("t"), bustest.WithGoroutineCheck())
		begin := k.Now()
		k.Consume("t", func(_ context.Context, d *bus.Delivery) error {
			if d.Attempt == 1 {
				return bus.RetryAfter(time.Hour, errors.New("not yet"))
			}
			return nil
		}, bus.Group("g"))
		k.Publish("t")
		k.Advance(time.Hour - time.Nanosecond)
		k.ExpectNoneYet("t")
		require.Len(t, k.Recorder().Deliveries("t"), 1)
		k.Advance(time.Nanosecond)
		require.Len(t, k.Recorder().Deliveries("t"), 2)
		require.Equal(t, time.Hour, k.Now().Sub(begin))
		k.WaitIdle()
		require.Less(t, k.Now().Sub(begin), time.Hour+time.Second)

		begin = k.Now()
		got := runTest(func(fake testing.TB) { bustest.New(fake).Expect("t") })
		require.Equal(t, "bustest: no message on \"t\" within 10s\nthere is nothing on \"t\"", got)
		require.Equal(t, 10*time.Second, k.Now().Sub(begin), "the timeout uses the bubble's time")
		require.Equal(t, "bustest: WithClock cannot be used inside testing/synctest, which has a clock of its own",
			runTest(func(fake testing.TB) { bustest.New(fake, bustest.WithClock(begin)) }))
	})
}

func TestClockSetsTimestamps(t *testing.T) {
	t.Parallel()
	noon := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	k := bustest.New(t, bustest.WithTopics("t"), bustest.WithClock(noon))
	times := make(chan time.Time, 10)
	k.Consume("t", func(_ context.Context, d *bus.Delivery) error {
		times <- d.Record.Timestamp
		return nil
	})
	k.Publish("t")
	require.True(t, noon.Equal(<-times))
	k.Advance(time.Minute)
	require.Equal(t, noon.Add(time.Minute), k.Now())
	k.Publish("t")
	require.True(t, noon.Add(time.Minute).Equal(<-times))
	k.Publish("t", bustest.Timestamp(noon.Add(time.Hour)))
	require.True(t, noon.Add(time.Hour).Equal(<-times), "a timestamp that is set is kept")
}
