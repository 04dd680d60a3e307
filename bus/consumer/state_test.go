package consumer_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/transport/memory"
)

var errTest = errors.New("failed by the test")

func nop(context.Context, *bus.Delivery) error { return nil }

func TestConsumerEntersEachStateInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		var j journal
		c := r.consumer(t, j.handle)
		seen := watch(t, c)
		require.Equal(t, consumer.Initialising, c.State())
		require.Equal(t, []any{"t", "g"}, []any{c.Topic(), c.Group()})
		synctest.Wait()
		require.NoError(t, c.Start())
		require.NoError(t, c.Start(), "idempotent")
		wait(t, c, consumer.Consuming)
		r.publish(t, 0, 3, func(int) string { return "k" })
		synctest.Wait()
		require.Equal(t, sequence(0, 3), j.all())
		require.NoError(t, c.Stop())
		require.NoError(t, c.Stop(), "idempotent")
		wait(t, c, consumer.Stopped)
		require.NoError(t, c.Err())
		r.publish(t, 3, 3, func(int) string { return "k" })
		elapse(time.Hour)
		require.Equal(t, 3, j.len(), "a stopped consumer calls no handler")
		consuming(t, c)
		synctest.Wait()
		require.Equal(t, sequence(0, 6), j.all())
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, c.Shutdown(t.Context()), "idempotent")
		require.Equal(t, consumer.Closed, c.State())
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Start()))
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Stop()))
		require.NoError(t, c.StopAndWait(t.Context()))
		require.Equal(t, []string{"initialising", "starting", "consuming", "stopping", "stopped", "starting", "consuming", "closing", "closed"}, seen.closed())
	})
}

func TestShutdownWithoutStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	c := r.consumer(t, nop)
	require.NoError(t, c.Stop())
	require.Equal(t, consumer.Stopped, c.State())
	require.NoError(t, c.StopAndWait(t.Context()))
	require.NoError(t, c.Shutdown(t.Context()))
	require.Equal(t, consumer.Closed, c.State())
}

// A consumer that is started while the broker is unavailable consumes when it is available.
func TestStartWhileTheBrokerIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 3, nil)
		r.faults.Disconnect(nil)
		var j journal
		c := r.consumer(t, j.handle)
		require.NoError(t, c.Start())
		elapse(time.Hour)
		now := c.Current()
		require.Equal(t, consumer.Starting, now.State)
		require.Equal(t, bus.CodeUnavailable, bus.CodeOf(now.Cause), now.Cause)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Wait(ctx, consumer.Consuming)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(err))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Contains(t, err.Error(), "the consumer is starting")
		r.faults.Connect()
		wait(t, c, consumer.Consuming)
		elapse(time.Minute)
		require.Equal(t, sequence(0, 3), j.all())
	})
}

// A rebalance is a change to Starting, with its cause, and back to Consuming.
func TestRebalanceIsAChangeOfState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		c := r.consumer(t, nop)
		seen := watch(t, c)
		consuming(t, c)
		require.NoError(t, r.faults.Rebalance("g", "t"))
		elapse(time.Minute)
		require.Equal(t, consumer.Consuming, c.State())
		require.NoError(t, c.Shutdown(t.Context()))
		require.Equal(t, []string{"initialising", "starting", "consuming", "starting", "consuming", "closing", "closed"}, seen.closed())
		require.Equal(t, bus.CodeRevoked, bus.CodeOf(seen.all[3].Cause))
		require.EqualValues(t, 2, c.Stats().Entered[consumer.Consuming])
	})
}

// Stop waits for a running handler, cancels its context shortly before the drain timeout, and
// then waits until it returns.
func TestStopCancelsHandlersBeforeTheDrainTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		begun, release := make(chan struct{}), make(chan struct{})
		canceled := make(chan time.Time, 1)
		c := r.consumer(t, func(ctx context.Context, _ *bus.Delivery) error {
			close(begun)
			<-ctx.Done()
			canceled <- time.Now()
			<-release
			return ctx.Err()
		}, consumer.WithDrainTimeout(10*time.Second))
		consuming(t, c)
		<-begun
		at := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := c.StopAndWait(ctx)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(err))
		require.Equal(t, 9*time.Second, (<-canceled).Sub(at), "its context ends within the drain timeout")
		require.Equal(t, consumer.Stopping, c.State(), "a handler is running")
		close(release)
		wait(t, c, consumer.Stopped)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(c.Current().Cause), "the cause is that a handler was cut off")
		require.NoError(t, c.Err(), "Stop was called")
		require.EqualValues(t, 1, c.Stats().Interrupted)
		require.Zero(t, c.Stats().Failed)
		require.Zero(t, r.committed(0))
	})
}

// Shutdown returns when its context ends even if a handler does not return. The consumer is
// Closed when the handler returns.
func TestShutdownIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		begun, release := make(chan struct{}), make(chan struct{})
		c := r.consumer(t, func(context.Context, *bus.Delivery) error {
			close(begun)
			<-release
			return nil
		})
		consuming(t, c)
		<-begun
		at := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(c.Shutdown(ctx)))
		require.Equal(t, 2*time.Second, time.Since(at))
		require.Equal(t, consumer.Closing, c.State())
		close(release)
		wait(t, c, consumer.Closed)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(c.Shutdown(t.Context())), "later calls get the result of the first")
	})
}

// After an error that is not temporary the consumer is Stopped and Err returns the error. Start
// tries again.
func TestPermanentErrorStopsTheConsumer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		b, err := bus.New(tr)
		require.NoError(t, err)
		var j journal
		c, err := consumer.New(b, "t", j.handle, bus.Group("g"))
		require.NoError(t, err)
		require.NoError(t, c.Start())
		wait(t, c, consumer.Stopped)
		require.Equal(t, bus.CodeNotFound, bus.CodeOf(c.Err()))
		require.Equal(t, c.Err(), c.Current().Cause)
		require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t"}))
		consuming(t, c)
		require.NoError(t, c.Err())
		require.NoError(t, b.Close())
		wait(t, c, consumer.Stopped)
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Err()))
		require.NoError(t, c.Start())
		elapse(time.Second)
		require.Equal(t, consumer.Stopped, c.State())
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Err()))
		require.NoError(t, c.Shutdown(t.Context()))
		_, err = consumer.New(b, "t", j.handle)
		require.Equal(t, bus.CodeClosed, bus.CodeOf(err))
	})
}

// flaky is a transport whose Subscribe fails a number of times.
type flaky struct {
	*memory.Transport
	left int
	code driver.Code
}

func (f *flaky) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	if f.left > 0 {
		f.left--
		return nil, &driver.Error{Code: f.code, Op: "subscribe", Topic: s.Topic, Reason: "failed by the test"}
	}
	return f.Transport.Subscribe(ctx, s)
}

// After a temporary error the consumer subscribes again, with a back-off.
func TestTemporaryErrorIsRetriedWithBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t"}))
		b, err := bus.New(&flaky{Transport: tr, left: 8, code: bus.CodeUnavailable})
		require.NoError(t, err)
		defer b.Close()
		c, err := consumer.New(b, "t", nop, bus.Group("g"))
		require.NoError(t, err)
		begun := time.Now()
		require.NoError(t, c.Start())
		synctest.Wait()
		require.Equal(t, bus.CodeUnavailable, bus.CodeOf(c.Current().Cause))
		wait(t, c, consumer.Consuming)
		// 0.2, 0.4, … 25.6 s; each pause is between half of it and all of it.
		require.InDelta(t, 38.25, time.Since(begun).Seconds(), 12.76)
		require.NoError(t, c.Shutdown(t.Context()))
	})
}

// A slow loop over Watch misses the oldest changes and does not delay the consumer.
func TestSlowWatchMissesTheOldestChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c := r.consumer(t, nop)
		first := true
		var numbers []uint64
		for change := range c.Watch(t.Context()) {
			if first {
				first = false
				for range 50 {
					require.NoError(t, c.Start())
					stop(t, c)
				}
				require.NoError(t, c.Shutdown(t.Context()))
			}
			numbers = append(numbers, change.Number)
		}
		require.EqualValues(t, 1, numbers[0])
		require.Len(t, numbers, 65)
		require.Greater(t, numbers[1], uint64(2), "the oldest changes were missed")
		for i := 2; i < len(numbers); i++ {
			require.Equal(t, numbers[i-1]+1, numbers[i])
		}
		_, err := c.Wait(t.Context(), consumer.Consuming)
		require.Equal(t, bus.CodeClosed, bus.CodeOf(err))
		state, err := c.Wait(t.Context(), consumer.Stopped, consumer.Closed)
		require.NoError(t, err)
		require.Equal(t, consumer.Closed, state)
	})
}

func TestStatesHaveNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, s := range consumer.States() {
		names = append(names, s.String())
	}
	require.Equal(t, []string{"initialising", "stopped", "starting", "consuming", "stopping", "closing", "closed"}, names)
	require.Equal(t, "invalid", consumer.State(99).String())
}

func TestNewRejectsInvalidOptions(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for name, o := range map[string]consumer.Option{
		"nil": nil, "concurrency": bus.Concurrency(0), "handler timeout": consumer.WithHandlerTimeout(0), "drain timeout": consumer.WithDrainTimeout(0),
		"attempts": consumer.WithAttempts(0), "back-off": bus.Backoff(2, 1), "no delays": consumer.WithRetryTopics(), "delay": consumer.WithRetryTopics(0),
		"retry topics without a group": consumer.WithRetryTopics(1), "dead-letter topic": bus.DeadLetterTopic(""),
		"rate": consumer.WithRate(0, 1), "NaN": consumer.WithRate(math.NaN(), 1), "burst": consumer.WithRate(1, 0), "in flight": bus.InFlight(0),
		"batch size": bus.BatchSize(10), "batch age": bus.BatchAge(1), "ready": consumer.WithPauseUnlessReady(nil),
		"probe": consumer.WithProbe(nil, "x"), "service": consumer.WithProbe(probe.New(), ""), "logger": consumer.WithLogger(nil), "window": bus.Window(0),
	} {
		_, err := consumer.New(r.Bus, "t", nop, o)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%s: %v", name, err)
	}
	for name, err := range map[string]error{
		"no bus":           second(consumer.New(nil, "t", nop)),
		"no handler":       second(consumer.New(r.Bus, "t", nil)),
		"no batch handler": second(consumer.NewBatch(r.Bus, "t", nil)),
		"no topic":         second(consumer.New(r.Bus, "", nop)),
		"batches by key":   second(consumer.NewBatch(r.Bus, "t", new(journal).handleBatch, bus.OrderByKey())),
	} {
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%s: %v", name, err)
	}
}

func second[T any](_ T, err error) error { return err }
