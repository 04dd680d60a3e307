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
