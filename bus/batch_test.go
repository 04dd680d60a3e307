package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/internal/seam"
)

// consumeBatches subscribes h to "t" with one claim of p, in a bubble.
func consumeBatches(t *testing.T, s *script, b *bus.Bus, p *scriptPartition, h bus.BatchHandler, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	sub, err := b.ConsumeBatches(t.Context(), "t", h, opts...)
	require.NoError(t, err)
	s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
	require.NoError(t, sub.Ready(t.Context()))
	return sub
}

func offsets(ds []*bus.Delivery) []int64 {
	all := make([]int64, len(ds))
	for i, d := range ds {
		all[i] = d.Record.Offset
	}
	return all
}

// BatchAge is the age of the oldest message and not an idle time: a batch is handled at that age
// even if messages continue to arrive.
func TestBatchIsHandledWhenItIsFullOrOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition()
		b := s.bus(t)
		var j journal
		begun := time.Now()
		consumeBatches(t, s, b, p, func(_ context.Context, ds []*bus.Delivery) error {
			j.add("%v %v", time.Since(begun), offsets(ds))
			return nil
		}, bus.Group("g"), bus.BatchSize(5), bus.BatchAge(time.Second))
		for i := range 8 {
			p.records <- records(i, 1, nil)
			time.Sleep(300 * time.Millisecond)
		}
		elapse(time.Minute)
		p.records <- records(8, 12, nil) // two full batches, and two records
		elapse(time.Minute)
		require.Equal(t, []string{
			"1s [0 1 2 3]", "2.2s [4 5 6 7]",
			"1m2.4s [8 9 10 11 12]", "1m2.4s [13 14 15 16 17]", "1m3.4s [18 19]",
		}, j.all())
		require.EqualValues(t, 20, p.last())
		require.NoError(t, b.Close())
	})
}

// Batches are in the order of the log, one at a time, and no larger than BatchSize. Acknowledged
// messages are not delivered again. The other messages are, and no commit covers them before they
// are acknowledged.
func TestBatchesKeepTheAcknowledgedPrefix(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "records")
		size := rapid.IntRange(1, 12).Draw(rt, "size")
		gap := rapid.IntRange(1, 3).Draw(rt, "gap")
		naks := rapid.SliceOfN(rapid.IntRange(0, 2), n, n).Draw(rt, "nacks")
		whole := rapid.SliceOfN(rapid.Bool(), n, n).Draw(rt, "whole")
		naps := rapid.SliceOfN(rapid.IntRange(0, 700), n, n).Draw(rt, "naps")
		synctest.Test(t, func(t *testing.T) {
			s, p := newScript(), newScriptPartition()
			b := s.bus(t)
			var mu sync.Mutex
			acked, last, running := map[int64]bool{}, int64(-1), 0
			sub := consumeBatches(t, s, b, p, func(_ context.Context, ds []*bus.Delivery) error {
				mu.Lock()
				running++
				assert.Equal(t, 1, running, "one batch at a time")
				assert.LessOrEqual(t, len(ds), size)
				assert.True(t, slices.IsSorted(offsets(ds)))
				for _, d := range ds {
					assert.False(t, acked[d.Record.Offset], "acknowledged records are not delivered again")
				}
				mu.Unlock()
				first := int(ds[0].Record.Offset-5) / gap
				time.Sleep(time.Duration(naps[first]) * time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				running--
				var failed bus.BatchError
				for i, d := range ds {
					if d.Attempt <= naks[int(d.Record.Offset-5)/gap] {
						failed.Add(i, errors.New("not yet"))
					}
				}
				if failed.Err() != nil && whole[first] && ds[0].Attempt <= 3 {
					return errors.New("none of them")
				}
				for i, d := range ds {
					if failed.Failed[i] == nil {
						acked[d.Record.Offset] = true
						assert.True(t, d.Attempt > 1 || d.Record.Offset > last, "new records come in the order of the log")
						last = max(last, d.Record.Offset)
					}
				}
				for i := range n {
					offset := int64(5 + i*gap)
					if offset < p.last() {
						assert.True(t, acked[offset], "offset %d is below the committed offset %d", offset, p.last())
					}
				}
				return failed.Err()
			}, bus.Group("g"), bus.BatchSize(size), bus.BatchAge(500*time.Millisecond))
			recs := records(0, n, nil)
			for i := range recs {
				recs[i].Offset = int64(5 + i*gap)
			}
			for i := 0; i < n; {
				k := min(n-i, 1+naps[i]%7)
				p.records <- recs[i : i+k]
				time.Sleep(time.Duration(naps[i]/3) * time.Millisecond)
				i += k
			}
			elapse(time.Hour)
			mu.Lock()
			require.Len(t, acked, n)
			mu.Unlock()
			require.Equal(t, recs[n-1].Offset+1, p.last())
			require.True(t, slices.IsSorted(p.committed()), "committed offsets never decrease")
			require.NoError(t, sub.Shutdown(t.Context()))
			require.NoError(t, b.Close())
		})
	})
}

func TestBatchErrorDecidesForEachMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 6, nil)...)
		var mu sync.Mutex
		var dead []string
		s.publish = func(batch []driver.Outgoing) {
			mu.Lock()
			defer mu.Unlock()
			for i := range batch {
				dead = append(dead, fmt.Sprint(batch[i].Topic, " ", batch[i].Payload[0], " ", header(&batch[i], deadletter.CauseHeader)))
				batch[i].Complete(driver.Outcome{})
			}
		}
		b := s.bus(t)
		var j journal
		begun := time.Now()
		consumeBatches(t, s, b, p, func(_ context.Context, ds []*bus.Delivery) error {
			j.add("%v %v attempt %d", time.Since(begun), offsets(ds), ds[0].Attempt)
			var failed bus.BatchError
			for i, d := range ds {
				switch {
				case d.Attempt > 1:
				case d.Record.Offset == 1:
					failed.Add(i, errors.New("plain"))
				case d.Record.Offset == 2:
					failed.Add(i, bus.DeadLetter(errors.New("poison")))
				case d.Record.Offset == 3:
					failed.Add(i, bus.Drop(nil))
				case d.Record.Offset == 4:
					failed.Add(i, bus.RetryAfter(time.Minute, nil))
				}
			}
			if err := failed.Err(); err != nil {
				return fmt.Errorf("wrapped: %w", err)
			}
			return nil
		}, bus.Group("g"), bus.BatchSize(6), bus.DeadLetterTopic("dead"))
		synctest.Wait()
		require.EqualValues(t, 1, p.last(), "offset 1 is not acknowledged")
		elapse(time.Hour)
		require.Equal(t, []string{"0s [0 1 2 3 4 5] attempt 1", "1m0s [1 4] attempt 2"}, j.all())
		require.Equal(t, []string{"dead 2 poison"}, dead)
		require.EqualValues(t, 6, p.last())
		require.NoError(t, b.Close())
	})
}

func TestErrorOfABatchRepeatsTheWholeBatch(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first error
		again bool
		after func(time.Duration) bool
		dead  int
	}{
		"nack":          {errors.New("no"), true, func(d time.Duration) bool { return d >= 50*time.Millisecond && d <= 100*time.Millisecond }, 0},
		"retry":         {bus.RetryAfter(time.Minute, nil), true, func(d time.Duration) bool { return d == time.Minute }, 0},
		"retry at once": {bus.RetryAfter(0, nil), true, func(d time.Duration) bool { return d == 0 }, 0},
		"dead letters":  {bus.DeadLetter(errors.New("poison")), false, nil, 3},
		"drop":          {bus.Drop(nil), false, nil, 0},
		"an index that is not in the batch": {&bus.BatchError{Failed: map[int]error{7: errors.New("no")}}, true,
			func(d time.Duration) bool { return d >= 50*time.Millisecond }, 0},
		"a batch error without failed messages": {&bus.BatchError{}, false, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, p := newScript(), newScriptPartition(records(0, 3, nil)...)
				var dead counter
				s.publish = func(batch []driver.Outgoing) {
					for i := range batch {
						dead.add()
						batch[i].Complete(driver.Outcome{})
					}
				}
				b := s.bus(t)
				begun := time.Now()
				var calls []time.Duration
				consumeBatches(t, s, b, p, func(_ context.Context, ds []*bus.Delivery) error {
					assert.Equal(t, []int64{0, 1, 2}, offsets(ds), "the same messages")
					calls = append(calls, time.Since(begun))
					assert.Equal(t, len(calls), ds[2].Attempt)
					clear(ds) // the slice belongs to the handler
					if len(calls) == 1 {
						return tc.first
					}
					return nil
				}, bus.Group("g"), bus.BatchSize(3), bus.DeadLetterTopic("dead"))
				elapse(time.Hour)
				if tc.again {
					require.Len(t, calls, 2)
					require.True(t, tc.after(calls[1]), "again after %v", calls[1])
				} else {
					require.Len(t, calls, 1)
				}
				require.Equal(t, tc.dead, dead.count())
				require.EqualValues(t, 3, p.last())
				require.NoError(t, b.Close())
			})
		})
	}
}

func TestStopInABatchEndsTheSubscription(t *testing.T) {
	t.Parallel()
	errEnough := errors.New("enough")
	for name, tc := range map[string]struct {
		err       error
		committed int64
	}{
		"whole batch":        {bus.Stop(errEnough), -1},
		"one message":        {&bus.BatchError{Failed: map[int]error{2: bus.Stop(errEnough)}}, 2},
		"around batch error": {bus.Stop(errors.Join(errEnough, &bus.BatchError{Failed: map[int]error{2: errors.New("no")}})), -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, p := newScript(), newScriptPartition()
				b := s.bus(t)
				sub := consumeBatches(t, s, b, p, func(context.Context, []*bus.Delivery) error { return tc.err }, bus.Group("g"), bus.BatchSize(4))
				p.records <- records(0, 4, nil) // after Ready, because they end the subscription
				<-sub.Done()
				require.ErrorIs(t, sub.Err(), errEnough)
				require.Equal(t, tc.committed, p.last())
				require.NoError(t, b.Close())
			})
		})
	}
}

func TestBatchOptions(t *testing.T) {
	t.Parallel()
	nop := func(context.Context, []*bus.Delivery) error { return nil }
	one := func(context.Context, *bus.Delivery) error { return nil }
	s := newScript()
	b := s.bus(t)
	for name, opts := range map[string][]bus.SubscribeOption{
		"size":           {bus.BatchSize(0)},
		"age":            {bus.BatchAge(0)},
		"by key":         {bus.OrderByKey()},
		"at most once":   {bus.AtMostOnce()},
		"small window":   {bus.BatchSize(10), bus.Window(9)},
		"small inflight": {bus.InFlight(9), bus.BatchSize(10)},
	} {
		_, err := b.ConsumeBatches(t.Context(), "t", nop, opts...)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%s: %v", name, err)
	}
	_, err := b.ConsumeBatches(t.Context(), "t", nil)
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
	for _, o := range []bus.SubscribeOption{bus.BatchSize(2), bus.BatchAge(time.Second)} {
		_, err := b.Consume(t.Context(), "t", one, o)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "the options are for ConsumeBatches only")
	}
	for name, tc := range map[string]struct {
		opts []bus.SubscribeOption
		want int
	}{
		"default":         {nil, 64},
		"window":          {[]bus.SubscribeOption{bus.Window(7)}, 7},
		"in flight":       {[]bus.SubscribeOption{bus.InFlight(9)}, 9},
		"size":            {[]bus.SubscribeOption{bus.BatchSize(500)}, 500},
		"size and window": {[]bus.SubscribeOption{bus.BatchSize(5), bus.Window(50)}, 5},
	} {
		got, err := seam.Of(b).Check("t", true, deliveryOptions(tc.opts)...)
		require.NoError(t, err, name)
		require.Equal(t, tc.want, got.Batch.Size, name)
		require.Equal(t, tc.want, got.Window, name)
	}
	require.NoError(t, b.Close())

	direct := newScript()
	direct.caps.DirectAck = true
	b = direct.bus(t)
	_, err = b.ConsumeBatches(t.Context(), "t", nop, bus.BatchSize(2))
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
	got, err := seam.Of(b).Check("t", true)
	require.NoError(t, err)
	require.Equal(t, 1, got.Batch.Size)
	require.NoError(t, b.Close())
}

func TestBatchesWithoutOrderAreInOrderOfArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 4, nil)...)
		s.caps.Ordered, s.caps.Partitions, s.caps.Groups = false, false, false
		b := s.bus(t)
		var j journal
		consumeBatches(t, s, b, p, func(_ context.Context, ds []*bus.Delivery) error {
			j.add("%v", offsets(ds))
			return nil
		}, bus.BatchSize(2))
		elapse(time.Minute)
		require.Equal(t, []string{"[0 1]", "[2 3]"}, j.all())
		require.NoError(t, b.Close())
	})
}

func TestBatchErrorText(t *testing.T) {
	t.Parallel()
	var none bus.BatchError
	none.Add(3, nil)
	require.NoError(t, none.Err())
	require.Equal(t, "no message of the batch failed", none.Error())
	one, two := errors.New("one"), errors.New("two")
	var some bus.BatchError
	some.Add(5, two)
	some.Add(2, one)
	require.EqualError(t, some.Err(), "2 messages of the batch failed, the first at index 2: one")
	require.ErrorIs(t, some.Err(), two)
	require.Equal(t, []error{one, two}, some.Unwrap())
	require.Equal(t, []error{nil, nil, one}, delivery.BatchErrors(&bus.BatchError{Failed: map[int]error{2: one}}, 3))
	require.Equal(t, []error{nil, nil}, delivery.BatchErrors(nil, 2))
}

func TestAnswerOf(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	for _, tc := range []struct {
		err   error
		want  delivery.Answer
		text  string
		cause error
	}{
		{nil, delivery.Ack, "ack", nil},
		{cause, delivery.Nack, "nack", cause},
		{bus.RetryAfter(time.Second, cause), delivery.Retry, "retry", cause},
		{fmt.Errorf("wrapped: %w", bus.DeadLetter(cause)), delivery.DeadLetter, "dead-letter", cause},
		{bus.Drop(nil), delivery.Drop, "drop", nil},
		{bus.Stop(cause), delivery.Stop, "stop", cause},
	} {
		answer, got := delivery.AnswerOf(tc.err)
		require.Equal(t, tc.want, answer)
		require.Equal(t, tc.text, answer.String())
		require.Equal(t, tc.cause, got)
	}
}

// elapse advances the clock of the bubble, and waits until everything is idle.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// deliveryOptions converts options to the type of package delivery.
func deliveryOptions(opts []bus.SubscribeOption) []delivery.SubscribeOption {
	var all []delivery.SubscribeOption
	for _, o := range opts {
		all = append(all, o)
	}
	return all
}
