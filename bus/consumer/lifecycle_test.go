package consumer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
)

// runConsumer calls Run on another goroutine.
func runConsumer(ctx context.Context, c *consumer.Consumer) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	return ended
}

func TestRunConsumesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		var j journal
		c := r.consumer(t, func(ctx context.Context, d *bus.Delivery) error {
			time.Sleep(10 * time.Second)
			return j.handle(ctx, d)
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := runConsumer(ctx, c)
		elapse(5 * time.Second)
		require.Equal(t, consumer.Consuming, c.State())
		cancel()
		synctest.Wait()
		require.Equal(t, consumer.Closing, c.State(), "the handler is running")
		require.NoError(t, receive(t, ended))
		require.Equal(t, consumer.Closed, c.State())
		require.Equal(t, sequence(0, 1), j.all())
		require.EqualValues(t, 1, r.committed(0))
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Run(t.Context())), "Run can be called once")
	})
}

func TestRunReportsHandlersThatWereCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		c := r.consumer(t, func(ctx context.Context, _ *bus.Delivery) error {
			<-ctx.Done()
			return ctx.Err()
		}, consumer.WithDrainTimeout(8*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		ended := runConsumer(ctx, c)
		elapse(time.Second)
		begun := time.Now()
		cancel()
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(receive(t, ended)))
		require.Equal(t, 7*time.Second, time.Since(begun), "a second before the drain timeout")
		require.Equal(t, consumer.Closed, c.State())
	})
}

func TestRunReturnsWhyTheConsumerStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		c := r.consumer(t, func(context.Context, *bus.Delivery) error { return bus.Stop(errTest) })
		require.ErrorIs(t, receive(t, runConsumer(t.Context(), c)), errTest)
		require.Equal(t, consumer.Closed, c.State())
	})
}

func TestRunContinuesAfterStopAndEndsWithShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var j journal
		c := r.consumer(t, j.handle)
		ended := runConsumer(t.Context(), c)
		wait(t, c, consumer.Consuming)
		stop(t, c)
		synctest.Wait()
		select {
		case err := <-ended:
			require.FailNow(t, "Run returned after a Stop", "%v", err)
		default:
		}
		consuming(t, c)
		r.publish(t, 0, 1, nil)
		synctest.Wait()
		require.Equal(t, sequence(0, 1), j.all())
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, receive(t, ended))
	})
}

func TestCloseIsBoundedByTheDrainTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		release := make(chan struct{})
		c := r.consumer(t, func(context.Context, *bus.Delivery) error {
			<-release
			return nil
		}, consumer.WithDrainTimeout(5*time.Second))
		consuming(t, c)
		synctest.Wait()
		begun := time.Now()
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(c.Close()))
		require.Equal(t, 5*time.Second, time.Since(begun))
		close(release)
		wait(t, c, consumer.Closed)
	})
}

// Shutdown cancels the contexts of handlers before its own context ends, so that they can
// return in time. The drain timeout is longer.
func TestShutdownCancelsHandlersBeforeItsDeadline(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		timeout, want time.Duration
	}{
		"a second before the deadline":       {10 * time.Second, 9 * time.Second},
		"a quarter before an early deadline": {2 * time.Second, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 1)
				r.publish(t, 0, 1, nil)
				c := r.consumer(t, func(ctx context.Context, _ *bus.Delivery) error {
					<-ctx.Done()
					return ctx.Err()
				})
				consuming(t, c)
				synctest.Wait()
				begun := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
				defer cancel()
				require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(c.Shutdown(ctx)), "a handler was cut off")
				require.Equal(t, tc.want, time.Since(begun))
				require.Equal(t, consumer.Closed, c.State())
			})
		})
	}
}

func TestShutdownOfClosedConsumerIgnoresItsContext(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	c := r.consumer(t, nop)
	require.NoError(t, c.Close())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // select picks at random
		require.NoError(t, c.Shutdown(ended))
	}
}

// What happens to the assignment and the connection during a drain does not change the state.
func TestStateDuringADrain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		stop func(*consumer.Consumer)
		want consumer.State
	}{
		"stop":     {func(c *consumer.Consumer) { _ = c.Stop() }, consumer.Stopping},
		"shutdown": {func(c *consumer.Consumer) { go func() { _ = c.Shutdown(context.Background()) }() }, consumer.Closing},
	} {
		for event, happen := range map[string]func(*rig) error{
			"rebalance":  func(r *rig) error { return r.faults.Rebalance("g", "t") },
			"disconnect": func(r *rig) error { r.faults.Disconnect(nil); return nil },
		} {
			t.Run(name+", "+event, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 1)
					r.publish(t, 0, 1, nil)
					release := make(chan struct{})
					defer close(release)
					c := r.consumer(t, func(context.Context, *bus.Delivery) error {
						<-release
						return nil
					})
					consuming(t, c)
					synctest.Wait()
					tc.stop(c)
					synctest.Wait()
					require.Equal(t, tc.want, c.State())
					require.NoError(t, happen(r))
					elapse(time.Second)
					require.Equal(t, tc.want, c.State())
				})
			})
		}
	}
}
