package consumer_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/deadletter"
)

// For all results of handlers and all policies: each message is handled, dropped or
// dead-lettered once, no message is left, and the counters add up.
func TestEveryMessageIsHandledDroppedOrDeadLettered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "messages")
		batch := rapid.IntRange(0, 7).Draw(rt, "batch")
		attempts := rapid.IntRange(1, 3).Draw(rt, "attempts")
		hops := rapid.IntRange(0, 2).Draw(rt, "retry topics")
		order := rapid.IntRange(0, 2).Draw(rt, "order")
		failures := rapid.SliceOfN(rapid.IntRange(0, 9), n, n).Draw(rt, "failures")
		answers := rapid.SliceOfN(rapid.IntRange(0, 5), n, n).Draw(rt, "answers")
		stops := rapid.SliceOfN(rapid.IntRange(0, 2000), 0, 4).Draw(rt, "stops")
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 2)
			dead := r.letters(t, "dead")
			r.publish(t, 0, n, byKey(5))
			var mu sync.Mutex
			handled, dropped, calls := map[int]int{}, map[int]int{}, map[int]int{}
			one := func(_ context.Context, d *bus.Delivery) error {
				time.Sleep(10 * time.Millisecond)
				i := number(d)
				mu.Lock()
				defer mu.Unlock()
				calls[i]++
				switch {
				case calls[i] <= failures[i]:
					return errTest
				case answers[i] == 0:
					dropped[i]++
					return bus.Drop(errTest)
				case answers[i] == 1:
					return bus.DeadLetter(errTest)
				case answers[i] == 2 && calls[i] <= failures[i]+2:
					return bus.RetryAfter(time.Second, nil)
				}
				handled[i]++
				return nil
			}
			opts := []consumer.Option{bus.DeadLetterTopic("dead"), consumer.WithAttempts(attempts), bus.Backoff(time.Millisecond, time.Second)}
			if hops > 0 {
				opts = append(opts, consumer.WithRetryTopics([]time.Duration{time.Second, time.Minute}[:hops]...))
			}
			var c *consumer.Consumer
			if batch > 0 {
				c = r.batchConsumer(t, func(ctx context.Context, ds []*bus.Delivery) error {
					var failed bus.BatchError
					for i, d := range ds {
						failed.Add(i, one(ctx, d))
					}
					return failed.Err()
				}, append(opts, bus.BatchSize(batch), bus.BatchAge(time.Second))...)
			} else {
				opts = append(opts, []bus.SubscribeOption{bus.OrderByPartition(), bus.OrderByKey(), bus.Unordered()}[order])
				c = r.consumer(t, one, opts...)
			}
			consuming(t, c)
			for _, after := range stops {
				elapse(time.Duration(after) * time.Millisecond)
				stop(t, c)
				consuming(t, c)
			}
			elapse(24 * time.Hour)
			letters := map[int]int{}
			for _, d := range dead.all {
				letters[number(d)]++
				require.Equal(t, "t", d.Message().Metadata.Get(deadletter.TopicHeader))
			}
			for i := range n {
				results := handled[i] + dropped[i] + letters[i]
				require.GreaterOrEqual(t, results, 1, "message %d", i)
				if len(stops) == 0 {
					require.Equal(t, 1, results, "message %d", i)
				}
			}
			s := c.Stats()
			require.Equal(t, []int{sum(handled), sum(dropped), sum(letters)}, []int{int(s.Handled), int(s.Dropped), int(s.DeadLettered)})
			require.Zero(t, s.InFlight)
			for _, l := range s.Lag {
				require.Zero(t, l.Records, "%s/%d", l.Topic, l.Partition)
			}
			require.EqualValues(t, n, r.committed(0)+r.committed(1))
		})
	})
}

func sum(of map[int]int) (n int) {
	for _, k := range of {
		n += k
	}
	return n
}
