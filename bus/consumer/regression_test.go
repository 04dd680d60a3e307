package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/testing/bustest"
)

// The faults of the library that this package replaces for its users, one test each, in
// this file and in regression_more_test.go. A design that has the fault fails the test;
// most of them by hanging, which a bubble of testing/synctest reports as a deadlock.

// Stop, then Start while it is stopping, with messages buffered: it deadlocked.
func TestFault01StopThenStartWhileStopping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 20, nil)
		var j journal
		release := make(chan struct{})
		c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
			if number(d) == 3 {
				<-release
			}
			return j.handle(ctx, d)
		})
		seen := watch(t, c)
		consuming(t, c)
		synctest.Wait()
		require.NoError(t, c.Stop())
		synctest.Wait()
		require.Equal(t, consumer.Stopping, c.State())
		require.NoError(t, c.Start())
		synctest.Wait()
		require.Equal(t, consumer.Stopping, c.State(), "a handler runs")
		close(release)
		elapse(time.Minute)
		require.Equal(t, consumer.Consuming, c.State())
		require.Equal(t, sequence(0, 20), j.all(), "each is handled, and once: it drained")
		require.NoError(t, c.Close(t.Context()))
		require.Equal(t, []string{"initialising", "starting", "consuming", "stopping", "stopped", "starting", "consuming", "closing", "closed"}, seen.closed())
	})
}

// StopAndWait before there is a session hung for ever.
func TestFault02StopAndWaitBeforeASession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.faults.Disconnect(nil)
		c := r.consumer(t, nop)
		begun := time.Now()
		stop(t, c) // never started
		require.NoError(t, c.Start())
		stop(t, c) // not scheduled yet
		require.NoError(t, c.Start())
		synctest.Wait()
		stop(t, c) // waits for the broker
		require.Equal(t, consumer.Stopped, c.State())
		require.Zero(t, time.Since(begun))
	})
}

// Waiting for the state that it is in wedged the state machine.
func TestFault03WaitingForTheInitialState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var j journal
		c := r.consumer(t, j.handle)
		for range 3 {
			wait(t, c, consumer.Initialising)
		}
		// Many wait for what comes, and some for what never does.
		var waiting sync.WaitGroup
		for _, s := range consumer.States() {
			waiting.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				_, _ = c.Wait(ctx, s) // that it returns is what matters
			})
		}
		require.NoError(t, c.Stop())
		wait(t, c, consumer.Stopped)
		consuming(t, c)
		r.publish(t, 0, 1, nil)
		synctest.Wait()
		require.Equal(t, sequence(0, 1), j.all())
		waiting.Wait()
	})
}

// To initialise after Close hung: what comes after Close is refused, at once.
func TestFault04StartAfterClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		for name, before := range map[string]func(c *consumer.Consumer){
			"new":     func(*consumer.Consumer) {},
			"stopped": func(c *consumer.Consumer) { require.NoError(t, c.Stop()) },
			"started": func(c *consumer.Consumer) { require.NoError(t, c.Start()) },
			"running": func(c *consumer.Consumer) { consuming(t, c) },
		} {
			c := r.consumer(t, nop)
			before(c)
			begun := time.Now()
			require.NoError(t, c.Close(t.Context()), name)
			require.Equal(t, bus.Closed, bus.CodeOf(c.Start()), name)
			require.Equal(t, bus.Closed, bus.CodeOf(c.Stop()), name)
			stop(t, c)
			_, err := c.Wait(t.Context(), consumer.Consuming)
			require.Equal(t, bus.Closed, bus.CodeOf(err), name)
			require.NoError(t, c.Close(t.Context()), name)
			require.Zero(t, time.Since(begun), name)
		}
	})
}

// Close stranded 14 of 20 buffered messages: none is lost. Those may come twice that were
// handled before an earlier one of their partition.
func TestFault05CloseStrandsBufferedMessages(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]consumer.Option{
		"by partition": nil,
		"by key":       {consumer.Subscribe(bus.OrderByKey()), consumer.WithWorkers(3)},
		"unordered":    {consumer.Subscribe(bus.Unordered(), bus.Window(4))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 1)
				r.publish(t, 0, 20, byKey(5))
				var j journal
				slow := func(ctx context.Context, d *bus.Delivery) error {
					time.Sleep(time.Second)
					return j.handle(ctx, d)
				}
				first := r.consumer(t, slow, opts...)
				consuming(t, first)
				elapse(2500 * time.Millisecond)
				require.NoError(t, first.Close(t.Context()))
				left := j.len()
				require.Less(t, left, 20, "it closed in the middle")
				require.Zero(t, first.Stats().InFlight)
				second := r.consumer(t, slow, opts...)
				consuming(t, second)
				elapse(time.Hour)
				require.Subset(t, j.all(), sequence(0, 20))
				require.EqualValues(t, 20, r.committed(0))
				if name == "by partition" {
					require.Equal(t, sequence(0, 20), j.all())
				}
			})
		})
	}
}

// Stop and Start back to back lost the Start 44 times of 50.
func TestFault06StopStartBackToBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var j journal
		c := r.consumer(t, j.handle)
		consuming(t, c)
		for i := range 50 {
			if i%3 == 0 {
				synctest.Wait()
			}
			require.NoError(t, c.Stop())
			require.NoError(t, c.Start())
			if i%5 == 0 {
				r.publish(t, i/5, 1, nil)
			}
		}
		elapse(time.Minute)
		require.Equal(t, consumer.Consuming, c.State())
		require.Equal(t, sequence(0, 10), j.all())
		for range 50 {
			require.NoError(t, c.Start())
			require.NoError(t, c.Stop())
		}
		elapse(time.Minute)
		require.Equal(t, consumer.Stopped, c.State())
	})
}

// StopAndWait returned while a handler ran.
func TestFault07StopAndWaitReturnsWhileAHandlerRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4)
		r.publish(t, 0, 100, byKey(50))
		var running, begun atomic.Int64
		c := r.consumer(t, func(_ context.Context, d *bus.Delivery) error {
			running.Add(1)
			defer running.Add(-1)
			begun.Add(1)
			time.Sleep(time.Duration(1+number(d)%7) * 100 * time.Millisecond)
			return nil
		}, consumer.Subscribe(bus.OrderByKey()), consumer.WithWorkers(16))
		for round := range 10 {
			consuming(t, c)
			time.Sleep(time.Duration(round) * 37 * time.Millisecond)
			stop(t, c)
			require.Zero(t, running.Load())
			require.Zero(t, c.Stats().InFlight)
			n := begun.Load()
			elapse(time.Minute)
			require.Equal(t, n, begun.Load(), "and none is begun afterwards")
		}
	})
}

// A handler's error was committed all the same, and one that said not to was not seen
// when it was wrapped.
func TestFault08AHandlerErrorCommits(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"plain":   errPlease,
		"retry":   bus.Retry(time.Second, nil),
		"wrapped": fmt.Errorf("twice: %w", fmt.Errorf("once: %w", bus.Retry(time.Second, errPlease))),
		"joined":  errors.Join(errPlease, bus.Retry(time.Second, nil)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 1)
				r.publish(t, 0, 3, nil)
				var j journal
				c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
					if number(d) == 1 {
						return err
					}
					return j.handle(ctx, d)
				})
				consuming(t, c)
				elapse(time.Hour)
				require.EqualValues(t, 1, r.committed(0))
				require.NoError(t, c.Close(t.Context()))
				require.EqualValues(t, 1, r.committed(0))
				again := r.consumer(t, j.handle)
				consuming(t, again)
				elapse(time.Minute)
				require.Equal(t, sequence(0, 3), j.all(), "it comes again, in order")
			})
		})
	}
}

// A message that was not committed was overtaken by the next commit of its partition, and
// skipped for good.
func TestFault09ALaterCommitOvertakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 50, byKey(10))
		var j journal
		c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
			if number(d) == 7 {
				return errPlease
			}
			return j.handle(ctx, d)
		}, consumer.Subscribe(bus.OrderByKey(), bus.CommitInterval(0)), consumer.WithWorkers(16))
		consuming(t, c)
		elapse(time.Hour)
		require.Equal(t, 45, j.len(), "all but its key are handled")
		require.EqualValues(t, 7, r.committed(0))
		// Whoever takes over gets it.
		require.NoError(t, r.faults.Rebalance("g", "t"))
		elapse(time.Hour)
		require.EqualValues(t, 7, r.committed(0))
		require.NoError(t, c.Close(t.Context()))
		var again journal
		other := r.consumer(t, again.handle)
		consuming(t, other)
		elapse(time.Hour)
		require.Equal(t, sequence(7, 43), again.all())
		require.EqualValues(t, 50, r.committed(0))
	})
}

// The batch wait was an idle timer: a steady trickle never flushed.
func TestFault10ATrickleNeverFlushes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var j journal
		begun := time.Now()
		c := r.batchConsumer(t, func(_ context.Context, ds []*bus.Delivery) error {
			j.add("%v %d", time.Since(begun), len(ds))
			return nil
		}, consumer.WithBatch(1000, time.Second))
		consuming(t, c)
		for i := range 100 {
			r.publish(t, i, 1, nil)
			time.Sleep(150 * time.Millisecond)
		}
		require.GreaterOrEqual(t, j.len(), 14, "it is flushed once a second")
		require.Equal(t, "1s 7", j.all()[0])
		elapse(time.Minute)
		require.EqualValues(t, 100, r.committed(0))
	})
}

// A partial batch was dropped on Close; one that spanned a rebalance committed only its
// last session.
func TestFault11PartialBatches(t *testing.T) {
	t.Parallel()
	t.Run("on close", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1)
			var j journal
			c := r.batchConsumer(t, j.handleBatch, consumer.WithBatch(100, time.Hour))
			consuming(t, c)
			r.publish(t, 0, 14, nil)
			synctest.Wait()
			require.Empty(t, j.all())
			require.NoError(t, c.Close(t.Context()))
			require.Equal(t, sequence(0, 14), j.all())
			require.EqualValues(t, 14, r.committed(0))
		})
	})
	t.Run("across a rebalance", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 4)
			var j journal
			c := r.batchConsumer(t, j.handleBatch, consumer.WithBatch(10, time.Minute))
			consuming(t, c)
			for round := range 5 {
				r.publish(t, round*23, 23, byKey(40))
				synctest.Wait()
				require.NoError(t, r.faults.Rebalance("g", "t"))
				time.Sleep(time.Second)
			}
			elapse(time.Hour)
			require.ElementsMatch(t, sequence(0, 5*23), j.all(), "what was collected is handed over and committed with its own session")
			var committed int64
			for p := range int32(4) {
				committed += r.committed(p)
			}
			require.EqualValues(t, 5*23, committed)
		})
	})
}

// A handler's context did not end with the session.
func TestFault12TheHandlersContextOutlivesTheSession(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  func(r *rig) error
		code bus.Code
	}{
		"rebalance":  {func(r *rig) error { return r.faults.Rebalance("g", "t") }, bus.Revoked},
		"expiry":     {func(r *rig) error { return r.log.ExpireMembers("g", "t") }, bus.Revoked},
		"disconnect": {func(r *rig) error { r.faults.Disconnect(&bus.Error{Code: bus.Unavailable}); return nil }, bus.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 1)
				r.publish(t, 0, 1, nil)
				causes := make(chan error, 10)
				c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
					<-ctx.Done()
					require.Error(t, d.Context().Err(), "the message's context has ended with it")
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
				require.EqualValues(t, 1, c.Stats().Interrupted, "it does not count as a failure")
				require.Zero(t, c.Stats().Failed)
			})
		})
	}
}

// An error channel that nobody read blocked Send and Close. There is none: whoever does not
// watch, or watches and does nothing, holds up nobody.
func TestFault13AnUnreadErrorChannelBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var calls atomic.Int64
		c := r.consumer(t, func(context.Context, *bus.Delivery) error {
			calls.Add(1)
			return errPlease
		}, consumer.WithRetry(consumer.Retry{Min: time.Millisecond, Max: time.Millisecond}))
		ctx, cancel := context.WithCancel(context.Background())
		var watching sync.WaitGroup
		watching.Go(func() {
			for range c.Watch(ctx) {
				<-ctx.Done() // and never looks again
			}
		})
		consuming(t, c)
		r.publish(t, 0, 10, nil)
		require.NoError(t, r.faults.Inject(bustest.OnPublish("t", bustest.Always(), bustest.Fail(bus.Unavailable))))
		for range 1000 {
			require.Equal(t, bus.Unavailable, bus.CodeOf(r.Publish("t", dead(1)...)))
			require.NoError(t, r.faults.Rebalance("g", "t"))
			elapse(10 * time.Millisecond)
		}
		require.Greater(t, calls.Load(), int64(1000))
		begun := time.Now()
		require.NoError(t, c.Close(t.Context()))
		require.NoError(t, r.Close())
		require.Zero(t, time.Since(begun))
		cancel()
		watching.Wait()
	})
}

// Cancel, then Close, closed twice and panicked.
func TestFault15CancelThenClose(t *testing.T) {
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
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, bus.Canceled, bus.CodeOf(c.Close(cancelled)))
		var closing sync.WaitGroup
		for range 20 {
			closing.Go(func() { _ = c.Close(cancelled) })
			closing.Go(func() { _ = c.Close(context.Background()) })
			closing.Go(func() { _ = c.Start() })
			closing.Go(func() { _ = c.StopAndWait(context.Background()) })
		}
		synctest.Wait()
		close(release)
		closing.Wait()
		require.Equal(t, consumer.Closed, c.State())
		require.NoError(t, r.Close())
		require.NoError(t, r.Close())
		require.Error(t, c.Close(t.Context()), "the first one's result: a handler was cut off")
	})
}

// No keys, no headers, no partition and no timestamp on a message.
func TestFault20NothingButThePayload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 8)
		at := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
		m := dead(1)[0]
		bus.SetKey(m, "the-key")
		bus.SetTimestamp(m, at)
		m.Metadata.Set("colour", "blue")
		require.NoError(t, r.Publish("t", m))
		var mu sync.Mutex
		var got []bus.Record
		keep := func(d *bus.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, "the-key", bus.Key(d.Message))
			require.Equal(t, "blue", d.Metadata.Get("colour"))
			require.Equal(t, m.UUID, d.UUID)
			got = append(got, *d.Record)
		}
		one := r.consumer(t, func(_ context.Context, d *bus.Delivery) error { keep(d); return nil })
		batches := r.batchConsumer(t, func(_ context.Context, ds []*bus.Delivery) error { keep(ds[0]); return nil }, consumer.Subscribe(bus.Group("h")))
		consuming(t, one)
		consuming(t, batches)
		elapse(time.Minute)
		require.Len(t, got, 2)
		for _, rec := range got {
			require.Equal(t, []any{"t", "the-key", int64(0)}, []any{rec.Topic, string(rec.Key), rec.Offset})
			require.Equal(t, got[0].Partition, rec.Partition)
			require.True(t, at.Equal(rec.Timestamp))
			require.True(t, slices.Contains(rec.Headers, bus.Header{Key: "colour", Value: "blue"}))
		}
	})
}

// Whatever is asked of it, by however many, in whatever order: the last wish is what
// comes to pass, nothing hangs, no handler runs where it is said that none does, and
// nothing is lost.
func TestTheLastWishWins(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { wishes(t, seed) })
		})
	}
}
