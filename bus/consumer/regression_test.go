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

// One test for each fault of dp-kafka, the library that this package replaces: 1 to 9 in this
// file, 10 to 13, 15 and 20 in regression_session_test.go, and in regression_outside_test.go 14
// and 16 to 19, which need other packages. Most of the faults are deadlocks, which
// testing/synctest reports.

// Start during a Stop, with buffered messages, deadlocked.
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
		require.Equal(t, consumer.Stopping, c.State(), "a handler is running")
		close(release)
		elapse(time.Minute)
		require.Equal(t, consumer.Consuming, c.State())
		require.Equal(t, sequence(0, 20), j.all(), "each message is handled once")
		require.NoError(t, c.Shutdown(t.Context()))
		require.Equal(t, []string{"initialising", "starting", "consuming", "stopping", "stopped", "starting", "consuming", "closing", "closed"}, seen.closed())
	})
}

// StopAndWait without a session blocked forever.
func TestFault02StopAndWaitBeforeASession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.faults.Disconnect(nil)
		c := r.consumer(t, nop)
		begun := time.Now()
		stop(t, c) // before a Start
		require.NoError(t, c.Start())
		stop(t, c) // before the goroutine runs
		require.NoError(t, c.Start())
		synctest.Wait()
		stop(t, c) // while the consumer waits for the broker
		require.Equal(t, consumer.Stopped, c.State())
		require.Zero(t, time.Since(begun))
	})
}

// Waiting for the current state blocked the state machine.
func TestFault03WaitingForTheInitialState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var j journal
		c := r.consumer(t, j.handle)
		for range 3 {
			wait(t, c, consumer.Initialising)
		}
		// Some of these states follow, others do not.
		var waiting sync.WaitGroup
		for _, s := range consumer.States() {
			waiting.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				_, _ = c.Wait(ctx, s) // must return
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

// Initialising after Close blocked forever. Calls after Shutdown must fail at once.
func TestFault04StartAfterShutdown(t *testing.T) {
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
			require.NoError(t, c.Shutdown(t.Context()), name)
			require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Start()), name)
			require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Stop()), name)
			stop(t, c)
			_, err := c.Wait(t.Context(), consumer.Consuming)
			require.Equal(t, bus.CodeClosed, bus.CodeOf(err), name)
			require.NoError(t, c.Shutdown(t.Context()), name)
			require.Zero(t, time.Since(begun), name)
		}
	})
}

// Close lost 14 of 20 buffered messages. Messages that were handled before an earlier one of
// their partition can be delivered twice.
func TestFault05ShutdownLosesNoBufferedMessage(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]consumer.Option{
		"by partition": nil,
		"by key":       {bus.OrderByKey(), bus.Concurrency(3)},
		"unordered":    {bus.Unordered(), bus.Window(4)},
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
				require.NoError(t, first.Shutdown(t.Context()))
				left := j.len()
				require.Less(t, left, 20, "Shutdown came before the last message")
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

// Start directly after Stop was lost 44 times of 50.
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

// StopAndWait returned while a handler was running.
func TestFault07StopAndWaitWaitsForHandlers(t *testing.T) {
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
		}, bus.OrderByKey(), bus.Concurrency(16))
		for round := range 10 {
			consuming(t, c)
			time.Sleep(time.Duration(round) * 37 * time.Millisecond)
			stop(t, c)
			require.Zero(t, running.Load())
			require.Zero(t, c.Stats().InFlight)
			n := begun.Load()
			elapse(time.Minute)
			require.Equal(t, n, begun.Load(), "no handler begins after StopAndWait")
		}
	})
}

// The message was committed although the handler returned an error. A wrapped error that
// prevents the commit was ignored.
func TestFault08HandlerErrorPreventsCommit(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"plain":   errTest,
		"retry":   bus.RetryAfter(time.Second, nil),
		"wrapped": fmt.Errorf("twice: %w", fmt.Errorf("once: %w", bus.RetryAfter(time.Second, errTest))),
		"joined":  errors.Join(errTest, bus.RetryAfter(time.Second, nil)),
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
				require.NoError(t, c.Shutdown(t.Context()))
				require.EqualValues(t, 1, r.committed(0))
				again := r.consumer(t, j.handle)
				consuming(t, again)
				elapse(time.Minute)
				require.Equal(t, sequence(0, 3), j.all(), "the message is delivered again, in order")
			})
		})
	}
}

// The next commit of the partition skipped a message that was not acknowledged.
func TestFault09LaterCommitSkipsNoMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 50, byKey(10))
		var j journal
		c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
			if number(d) == 7 {
				return errTest
			}
			return j.handle(ctx, d)
		}, bus.OrderByKey(), bus.CommitInterval(0), bus.Concurrency(16))
		consuming(t, c)
		elapse(time.Hour)
		require.Equal(t, 45, j.len(), "the other keys are handled")
		require.EqualValues(t, 7, r.committed(0))
		// The next owner of the partition gets the message.
		require.NoError(t, r.faults.Rebalance("g", "t"))
		elapse(time.Hour)
		require.EqualValues(t, 7, r.committed(0))
		require.NoError(t, c.Shutdown(t.Context()))
		var again journal
		other := r.consumer(t, again.handle)
		consuming(t, other)
		elapse(time.Hour)
		require.Equal(t, sequence(7, 43), again.all())
		require.EqualValues(t, 50, r.committed(0))
	})
}

// For all concurrent requests: the last one decides the state, no call blocks forever, no
// handler runs after StopAndWait, and no message is lost.
func TestLastRequestDecidesTheState(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { randomRequests(t, seed) })
		})
	}
}
