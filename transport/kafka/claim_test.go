package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

// testClaim returns a claim of a topic that begins at next.
func testClaim(next int64) *claim {
	return newClaim(driver.Subscription{Topic: "topic", MaxFetch: 10}, &recordCodec{}, 0, next)
}

// records returns a channel that contains records with these offsets.
func records(offsets ...int64) chan *sarama.ConsumerMessage {
	ch := make(chan *sarama.ConsumerMessage, len(offsets)+1)
	for _, o := range offsets {
		ch <- &sarama.ConsumerMessage{Topic: "topic", Offset: o}
	}
	return ch
}

func noEnd() int64 { return 0 }

func fetchOffsets(t *testing.T, c *claim) []int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	recs, err := c.Fetch(ctx)
	require.NoError(t, err)
	var offsets []int64
	for _, r := range recs {
		offsets = append(offsets, r.Offset)
	}
	return offsets
}

// endOnDone is a context that ends a claim when Fetch waits on it.
type endOnDone struct {
	context.Context
	end func()
}

func (c endOnDone) Done() <-chan struct{} {
	c.end()
	return c.Context.Done()
}

// A record that arrives together with the end of the claim belongs to the next claim. Go
// chooses randomly between two ready channels, so the test repeats.
func TestFetchReturnsNoRecordAfterTheClaimHasEnded(t *testing.T) {
	t.Parallel()
	for name, endBefore := range map[string]bool{"ended before Fetch": true, "ended while Fetch waits": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limited, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for range 64 {
				c := testClaim(0)
				c.attach(records(0, 1), noEnd)
				end := func() { c.end(revokedError("topic", nil)) }
				if endBefore {
					end()
				}
				recs, err := c.Fetch(endOnDone{limited, end})
				require.Empty(t, recs)
				require.Equal(t, driver.CodeRevoked, driver.CodeOf(err), "%v", err)
				require.Zero(t, c.nextOffset(), "the next claim must begin at the record")
			}
		})
	}
}

// sarama can deliver records before the requested offset, for example from the middle of a
// compressed batch, and a new source begins at the next offset.
func TestFetchDeliversEachOffsetOnce(t *testing.T) {
	t.Parallel()
	c := testClaim(5)
	c.attach(records(3, 4, 5, 6), noEnd)
	require.Equal(t, []int64{5, 6}, fetchOffsets(t, c))
	require.EqualValues(t, 7, c.nextOffset())
	c.attach(records(6, 7, 9), noEnd)
	require.Equal(t, []int64{7, 9}, fetchOffsets(t, c))
	require.EqualValues(t, 10, c.nextOffset())
}

func TestFetchContinuesWithANewSource(t *testing.T) {
	t.Parallel()
	c := testClaim(0)
	closed := records(0)
	close(closed)
	first := c.attach(closed, noEnd)
	require.Equal(t, []int64{0}, fetchOffsets(t, c))
	got := make(chan []driver.Record, 1)
	go func() {
		recs, _ := c.Fetch(context.WithoutCancel(t.Context()))
		got <- recs
	}()
	select {
	case <-first.closed:
	case <-time.After(time.Minute):
		require.FailNow(t, "Fetch must report the closed source")
	}
	c.attach(records(1), noEnd)
	select {
	case recs := <-got:
		require.Len(t, recs, 1)
	case <-time.After(time.Minute):
		require.FailNow(t, "Fetch must read from the new source")
	}
}

func TestExtentEndIsNeverBelowTheNextOffset(t *testing.T) {
	t.Parallel()
	c := testClaim(0)
	_, _, known := c.Extent()
	require.False(t, known, "there is no source")
	end := int64(0)
	c.attach(records(0, 1, 2), func() int64 { return end })
	_, _, known = c.Extent()
	require.False(t, known, "no fetch has returned the end")
	end = 2 // the high-water mark of an earlier fetch
	require.Equal(t, []int64{0, 1, 2}, fetchOffsets(t, c))
	next, got, known := c.Extent()
	require.True(t, known)
	require.EqualValues(t, 3, next)
	require.EqualValues(t, 3, got)
}
