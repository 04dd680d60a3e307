package consumer_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/testing/bustest"
)

// The age of a batch was measured since its latest message, so with a slow but steady stream no
// batch was handled.
func TestFault10BatchAgeIsSinceTheOldestMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var j journal
		begun := time.Now()
		c := r.batchConsumer(t, func(_ context.Context, ds []*bus.Delivery) error {
			j.add("%v %d", time.Since(begun), len(ds))
			return nil
		}, bus.BatchSize(1000), bus.BatchAge(time.Second))
		consuming(t, c)
		for i := range 100 {
			r.publish(t, i, 1, nil)
			time.Sleep(150 * time.Millisecond)
		}
		require.GreaterOrEqual(t, j.len(), 14, "one batch a second")
		require.Equal(t, "1s 7", j.all()[0])
		elapse(time.Minute)
		require.EqualValues(t, 100, r.committed(0))
	})
}

// A partial batch was lost on Close. A batch with messages from before and after a rebalance
// committed only the latter.
func TestFault11PartialBatchesAreNotLost(t *testing.T) {
	t.Parallel()
	t.Run("shutdown", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1)
			var j journal
			c := r.batchConsumer(t, j.handleBatch, bus.BatchSize(100), bus.BatchAge(time.Hour))
			consuming(t, c)
			r.publish(t, 0, 14, nil)
			synctest.Wait()
			require.Empty(t, j.all())
			require.NoError(t, c.Shutdown(t.Context()))
			require.Equal(t, sequence(0, 14), j.all())
			require.EqualValues(t, 14, r.committed(0))
		})
	})
	t.Run("rebalance", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 4)
			var j journal
			c := r.batchConsumer(t, j.handleBatch, bus.BatchSize(10), bus.BatchAge(time.Minute))
			consuming(t, c)
			for round := range 5 {
				r.publish(t, round*23, 23, byKey(40))
				synctest.Wait()
				require.NoError(t, r.faults.Rebalance("g", "t"))
				time.Sleep(time.Second)
			}
			elapse(time.Hour)
			require.ElementsMatch(t, sequence(0, 5*23), j.all(), "each batch is handled and committed in its own session")
			var committed int64
			for p := range int32(4) {
				committed += r.committed(p)
			}
			require.EqualValues(t, 5*23, committed)
		})
	})
}

// The context of a handler did not end with the session.
func TestFault12HandlerContextEndsWithTheSession(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  func(r *rig) error
		code bus.Code
	}{
		"rebalance":  {func(r *rig) error { return r.faults.Rebalance("g", "t") }, bus.CodeRevoked},
		"expiry":     {func(r *rig) error { return r.log.ExpireMembers("g", "t") }, bus.CodeRevoked},
		"disconnect": {func(r *rig) error { r.faults.Disconnect(&bus.Error{Code: bus.CodeUnavailable}); return nil }, bus.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 1)
				r.publish(t, 0, 1, nil)
				causes := make(chan error, 10)
				c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
					<-ctx.Done()
					assert.Error(t, d.Context.Err(), "the message has the same context")
					causes <- context.Cause(ctx)
					return ctx.Err()
				})
				consuming(t, c)
				synctest.Wait()
				begun := time.Now()
				require.NoError(t, tc.end(r))
				require.Equal(t, tc.code, bus.CodeOf(<-causes))
				require.Zero(t, time.Since(begun))
				r.faults.Connect()
				synctest.Wait() // the handler has returned
				require.EqualValues(t, 1, c.Stats().Interrupted, "an interrupted handler is not a failure")
				require.Zero(t, c.Stats().Failed)
			})
		})
	}
}

// An error channel that was not read blocked Send and Close. A program that does not watch the
// consumer, or whose loop over Watch blocks, must not block the consumer.
func TestFault13UnreadChangesBlockNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var calls atomic.Int64
		c := r.consumer(t, func(context.Context, *bus.Delivery) error {
			calls.Add(1)
			return errTest
		}, bus.Backoff(time.Millisecond, time.Millisecond))
		ctx, cancel := context.WithCancel(context.Background())
		var watching sync.WaitGroup
		watching.Go(func() {
			for range c.Watch(ctx) {
				<-ctx.Done() // reads one change only
			}
		})
		consuming(t, c)
		r.publish(t, 0, 10, nil)
		require.NoError(t, r.faults.Inject(bustest.OnPublish("t", bustest.Always(), bustest.Fail(bus.CodeUnavailable))))
		for range 1000 {
			require.Equal(t, bus.CodeUnavailable, bus.CodeOf(r.Publish("t", messages(1)...)))
			require.NoError(t, r.faults.Rebalance("g", "t"))
			elapse(10 * time.Millisecond)
		}
		require.Greater(t, calls.Load(), int64(1000))
		begun := time.Now()
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, r.Close())
		require.Zero(t, time.Since(begun))
		cancel()
		watching.Wait()
	})
}

// Cancel followed by Close closed a channel twice and panicked.
func TestFault15CancelThenConcurrentShutdowns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		release := make(chan struct{})
		c := r.consumer(t, func(ctx context.Context, _ *bus.Delivery) error {
			<-ctx.Done()
			<-release
			return ctx.Err()
		})
		consuming(t, c)
		synctest.Wait()
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, bus.CodeCanceled, bus.CodeOf(c.Shutdown(canceled)))
		var closing sync.WaitGroup
		for range 20 {
			closing.Go(func() { _ = c.Shutdown(canceled) })
			closing.Go(func() { _ = c.Shutdown(context.Background()) })
			closing.Go(func() { _ = c.Start() })
			closing.Go(func() { _ = c.StopAndWait(context.Background()) })
		}
		synctest.Wait()
		close(release)
		closing.Wait()
		require.Equal(t, consumer.Closed, c.State())
		require.NoError(t, r.Close())
		require.NoError(t, r.Close())
		require.Error(t, c.Shutdown(t.Context()), "the result of the first call: a handler was cut off")
	})
}

// Messages had neither a key nor headers, a partition or a timestamp.
func TestFault20MessagesHaveKeyHeadersAndPosition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 8)
		at := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
		m := messages(1)[0]
		bus.SetKey(m, "the-key")
		bus.SetTimestamp(m, at)
		m.Metadata.Set("color", "blue")
		require.NoError(t, r.Publish("t", m))
		var mu sync.Mutex
		var got []bus.Record
		keep := func(d *bus.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			assert.Equal(t, "the-key", string(d.Key))
			assert.Equal(t, "blue", d.Message().Metadata.Get("color"))
			assert.Equal(t, m.UUID, d.UUID)
			got = append(got, *d.Record)
		}
		one := r.consumer(t, func(_ context.Context, d *bus.Delivery) error { keep(d); return nil })
		batches := r.batchConsumer(t, func(_ context.Context, ds []*bus.Delivery) error { keep(ds[0]); return nil }, bus.Group("h"))
		consuming(t, one)
		consuming(t, batches)
		elapse(time.Minute)
		require.Len(t, got, 2)
		for _, rec := range got {
			require.Equal(t, []any{"t", "the-key", int64(0)}, []any{rec.Topic, string(rec.Key), rec.Offset})
			require.Equal(t, got[0].Partition, rec.Partition)
			require.True(t, at.Equal(rec.Timestamp))
			require.True(t, slices.Contains(rec.Headers, bus.Header{Key: "color", Value: "blue"}))
		}
	})
}
