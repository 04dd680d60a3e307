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

// In a bubble a back-off of an hour takes no time, and is an hour.
func TestTimeInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := bustest.New(t, bustest.Topics("t"), bustest.CheckGoroutines())
		begun := k.Now()
		k.Consume("t", func(_ context.Context, d *bus.Delivery) error {
			if d.Attempt == 1 {
				return bus.Retry(time.Hour, errors.New("come back later"))
			}
			return nil
		}, bus.Group("g"))
		k.Publish("t")
		k.Advance(time.Hour - time.Nanosecond)
		k.ExpectNoneYet("t")
		require.Len(t, k.Recorder().Deliveries("t"), 1)
		k.Advance(time.Nanosecond)
		require.Len(t, k.Recorder().Deliveries("t"), 2)
		require.Equal(t, time.Hour, k.Now().Sub(begun))
		k.Settle()
		require.Less(t, k.Now().Sub(begun), time.Hour+time.Second)

		begun = k.Now()
		got := failing(func(fake testing.TB) { bustest.New(fake).Expect("t") })
		require.Equal(t, "bustest: no message on \"t\" within 10s\nthere is nothing on \"t\"", got)
		require.Equal(t, bustest.DefaultPatience, k.Now().Sub(begun), "patience is the bubble's, too")
		require.Equal(t, "bustest: in a testing/synctest bubble the clock is the bubble's: leave StartClock out",
			failing(func(fake testing.TB) { bustest.New(fake, bustest.StartClock(begun)) }))
	})
}

func TestClockByHand(t *testing.T) {
	t.Parallel()
	noon := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	k := bustest.New(t, bustest.Topics("t"), bustest.StartClock(noon))
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
	k.Publish("t", bustest.Time(noon.Add(time.Hour)))
	require.True(t, noon.Add(time.Hour).Equal(<-times), "who names a time has it")
}
