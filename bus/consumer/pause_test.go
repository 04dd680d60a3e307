package consumer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/liveness/probe"
)

func TestPauseHoldsHandlersBackUntilResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var j journal
		c := r.consumer(t, j.handle)
		c.Pause()
		c.Pause()
		consuming(t, c)
		r.publish(t, 0, 3, nil)
		elapse(time.Hour)
		require.True(t, c.Paused())
		require.True(t, c.Stats().Paused)
		require.Empty(t, j.all())
		require.Equal(t, consumer.Consuming, c.State(), "a paused consumer stays in its group")
		c.Resume()
		c.Resume()
		synctest.Wait()
		require.Equal(t, sequence(0, 3), j.all())
		// A paused consumer can be stopped, and is still paused after a Start.
		c.Pause()
		r.publish(t, 3, 3, nil)
		synctest.Wait()
		begun := time.Now()
		stop(t, c)
		require.Zero(t, time.Since(begun))
		consuming(t, c)
		elapse(time.Hour)
		require.Equal(t, 3, j.len())
		c.Resume()
		synctest.Wait()
		require.Equal(t, sequence(0, 6), j.all())
	})
}

// A paused batch consumer does not handle its batch when it stops. The messages are delivered
// again.
func TestPausedBatchConsumerStopsWithoutHandling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var j journal
		c := r.batchConsumer(t, j.handleBatch)
		c.Pause()
		consuming(t, c)
		r.publish(t, 0, 3, nil)
		elapse(time.Hour)
		begun := time.Now()
		stop(t, c)
		require.Zero(t, time.Since(begun))
		require.Empty(t, j.all())
		c.Resume()
		consuming(t, c)
		elapse(time.Minute)
		require.Equal(t, sequence(0, 3), j.all())
	})
}

func TestPauseUnlessReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := probe.New()
		reg.Register("database")
		r := newRig(t, 1)
		var j journal
		named := r.consumer(t, j.handle, consumer.WithPauseUnlessReady(reg, "database"))
		r.publish(t, 0, 2, nil)
		consuming(t, named)
		elapse(time.Hour)
		require.True(t, named.Paused())
		require.Empty(t, j.all())
		reg.Update("database", probe.Running, nil)
		synctest.Wait()
		require.Equal(t, sequence(0, 2), j.all())
		reg.Update("database", probe.NotReady, nil)
		synctest.Wait()
		r.publish(t, 2, 2, nil)
		elapse(time.Hour)
		require.Equal(t, 2, j.len())
		named.Pause() // now two pauses have to end
		reg.Update("database", probe.Running, nil)
		elapse(time.Hour)
		require.Equal(t, 2, j.len())
		named.Resume()
		synctest.Wait()
		require.Equal(t, sequence(0, 4), j.all())
		require.NoError(t, named.Shutdown(t.Context()))

		// Without names the state of the registry decides. It includes the service of the consumer.
		whole := r.consumer(t, j.handle, consumer.WithPauseUnlessReady(reg), consumer.WithProbe(reg, "consumer"))
		reg.Update("database", probe.NotReady, nil)
		r.publish(t, 4, 2, nil)
		consuming(t, whole)
		elapse(time.Hour)
		require.Equal(t, 4, j.len())
		reg.Update("database", probe.Running, nil)
		synctest.Wait()
		require.Equal(t, sequence(0, 6), j.all())

		none := r.consumer(t, j.handle, consumer.WithPauseUnlessReady(reg, "missing"))
		consuming(t, none)
		synctest.Wait()
		require.True(t, none.Paused(), "a service that is not registered is not ready")
	})
}

func TestRateLimitsHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4)
		r.publish(t, 0, 100, byKey(16))
		var handled atomic.Int64
		c := r.consumer(t, func(context.Context, *bus.Delivery) error {
			handled.Add(1)
			return nil
		}, consumer.WithRate(2, 5))
		begun := time.Now()
		consuming(t, c)
		synctest.Wait()
		require.EqualValues(t, 5, handled.Load(), "the burst")
		elapse(10 * time.Second)
		require.EqualValues(t, 25, handled.Load())
		// Stop does not wait for the rate limiter.
		stop(t, c)
		require.Equal(t, 10*time.Second, time.Since(begun))
		consuming(t, c)
		elapse(time.Minute)
		require.EqualValues(t, 100, handled.Load(), "each message was handled once")
	})
}

// A batch that is larger than the burst waits until the rate allows all of it.
func TestRateCountsTheMessagesOfBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 30, nil)
		var j journal
		begun := time.Now()
		c := r.batchConsumer(t, func(_ context.Context, ds []*bus.Delivery) error {
			j.add("%v %d", time.Since(begun), len(ds))
			return nil
		}, bus.BatchSize(10), bus.BatchAge(time.Second), consumer.WithRate(1, 5))
		consuming(t, c)
		elapse(time.Hour)
		require.Equal(t, []string{"5s 10", "15s 10", "25s 10"}, j.all())
	})
}

func TestConcurrencyAndInFlightBoundHandlers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		partitions int32
		opts       []consumer.Option
		want       int64
	}{
		"by partition":             {4, nil, 4},
		"fewer than partitions":    {4, []consumer.Option{bus.Concurrency(2)}, 2},
		"by key":                   {4, []consumer.Option{bus.OrderByKey()}, 100},
		"by key, with concurrency": {4, []consumer.Option{bus.OrderByKey(), bus.Concurrency(7)}, 7},
		"in flight":                {4, []consumer.Option{bus.Unordered(), bus.InFlight(9)}, 9},
		"the default window":       {1, []consumer.Option{bus.Unordered()}, 64},
		"a window for concurrency": {1, []consumer.Option{bus.Unordered(), bus.Concurrency(100)}, 100},
		"an explicit window":       {1, []consumer.Option{bus.Unordered(), bus.Concurrency(100), bus.Window(20)}, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tc.partitions)
				r.publish(t, 0, 400, byKey(100))
				var running, most atomic.Int64
				c := r.consumer(t, func(context.Context, *bus.Delivery) error {
					n := running.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); {
						m = most.Load()
					}
					time.Sleep(time.Second)
					running.Add(-1)
					return nil
				}, tc.opts...)
				consuming(t, c)
				elapse(time.Hour)
				require.EqualValues(t, 400, c.Stats().Handled)
				require.Equal(t, tc.want, most.Load())
			})
		})
	}
}
