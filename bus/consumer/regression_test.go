package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
)

// The faults of the library that this package replaces for its users, one test each, in
// this file (1 to 9), in regression_session_test.go (10 to 13, 15, 20) and in
// regression_outside_test.go (14, 16 to 19: what lives elsewhere in the project). A design that has the fault fails the test;
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
			require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Start()), name)
			require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Stop()), name)
			stop(t, c)
			_, err := c.Wait(t.Context(), consumer.Consuming)
			require.Equal(t, bus.CodeClosed, bus.CodeOf(err), name)
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
		"retry":   bus.RetryAfter(time.Second, nil),
		"wrapped": fmt.Errorf("twice: %w", fmt.Errorf("once: %w", bus.RetryAfter(time.Second, errPlease))),
		"joined":  errors.Join(errPlease, bus.RetryAfter(time.Second, nil)),
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
