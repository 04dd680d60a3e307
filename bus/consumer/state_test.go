package consumer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

var errPlease = errors.New("again, please")

func nop(context.Context, *bus.Delivery) error { return nil }

func TestTheLifeOfAConsumer(t *testing.T) {
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
		require.Equal(t, 3, j.len(), "it is stopped")
		consuming(t, c)
		synctest.Wait()
		require.Equal(t, sequence(0, 6), j.all())
		require.NoError(t, c.Close(t.Context()))
		require.NoError(t, c.Close(t.Context()), "idempotent")
		require.Equal(t, consumer.Closed, c.State())
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Start()))
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Stop()))
		require.NoError(t, c.StopAndWait(t.Context()))
		require.Equal(t, []string{"initialising", "starting", "consuming", "stopping", "stopped", "starting", "consuming", "closing", "closed"}, seen.closed())
	})
}

func TestClosedWithoutEverStarting(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	c := r.consumer(t, nop)
	require.NoError(t, c.Stop())
	require.Equal(t, consumer.Stopped, c.State())
	require.NoError(t, c.StopAndWait(t.Context()))
	require.NoError(t, c.Close(t.Context()))
	require.Equal(t, consumer.Closed, c.State())
}

// It is made and started with the broker away, and gets there.
func TestStartsWithTheBrokerAway(t *testing.T) {
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
		require.Equal(t, bus.CodeUnavailable, bus.CodeOf(now.Cause), "it says why: %v", now.Cause)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Wait(ctx, consumer.Consuming)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(err))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Contains(t, err.Error(), "it is starting")
		r.faults.Connect()
		wait(t, c, consumer.Consuming)
		elapse(time.Minute)
		require.Equal(t, sequence(0, 3), j.all())
	})
}

// A rebalance shows as Consuming, Starting, Consuming, with the cause.
func TestARebalanceShows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		c := r.consumer(t, nop)
		seen := watch(t, c)
		consuming(t, c)
		require.NoError(t, r.faults.Rebalance("g", "t"))
		elapse(time.Minute)
		require.Equal(t, consumer.Consuming, c.State())
		require.NoError(t, c.Close(t.Context()))
		require.Equal(t, []string{"initialising", "starting", "consuming", "starting", "consuming", "closing", "closed"}, seen.closed())
		require.Equal(t, bus.CodeRevoked, bus.CodeOf(seen.all[3].Cause))
		require.EqualValues(t, 2, c.Stats().Entered[consumer.Consuming])
	})
}

// A handler that is slow to end is waited for, then told, then waited for again.
func TestTheDrainTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		begun, release := make(chan struct{}), make(chan struct{})
		told := make(chan time.Time, 1)
		c := r.consumer(t, func(ctx context.Context, _ *bus.Delivery) error {
			close(begun)
			<-ctx.Done()
			told <- time.Now()
			<-release // it is stubborn
			return ctx.Err()
		}, consumer.WithDrainTimeout(10*time.Second))
		consuming(t, c)
		<-begun
		at := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := c.StopAndWait(ctx)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(err))
		require.Equal(t, 9*time.Second, (<-told).Sub(at), "its context ends within the drain time-out")
		require.Equal(t, consumer.Stopping, c.State(), "a handler runs")
		close(release)
		wait(t, c, consumer.Stopped)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(c.Current().Cause), "it says that a handler was cut off")
		require.NoError(t, c.Err(), "it was asked to stop")
		require.EqualValues(t, 1, c.Stats().Interrupted)
		require.Zero(t, c.Stats().Failed)
		require.Zero(t, r.committed(0))
	})
}

// Close is bounded by its context, whatever handlers do, and the consumer is Closed when
// the last of them has returned.
func TestCloseIsBounded(t *testing.T) {
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
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(c.Close(ctx)))
		require.Equal(t, 2*time.Second, time.Since(at))
		require.Equal(t, consumer.Closing, c.State())
		close(release)
		wait(t, c, consumer.Closed)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(c.Close(t.Context())), "later calls get the first one's result: it was cut off")
	})
}

// What does not pass ends in Stopped, and says why; Start tries again.
func TestAFinalEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		b, err := bus.New(tr)
		require.NoError(t, err)
		var j journal
		c, err := consumer.New(b, "t", j.handle, consumer.Subscribe(bus.Group("g")))
		require.NoError(t, err)
		require.NoError(t, c.Start())
		wait(t, c, consumer.Stopped)
		require.Equal(t, bus.CodeNotFound, bus.CodeOf(c.Err()))
		require.Equal(t, c.Err(), c.Current().Cause)
		require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t"}))
		consuming(t, c)
		require.NoError(t, c.Err())
		// The bus is closed under it.
		require.NoError(t, b.Close())
		wait(t, c, consumer.Stopped)
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Err()))
		require.NoError(t, c.Start())
		elapse(time.Second)
		require.Equal(t, consumer.Stopped, c.State())
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Err()))
		require.NoError(t, c.Close(t.Context()))
		_, err = consumer.New(b, "t", j.handle)
		require.Equal(t, bus.CodeClosed, bus.CodeOf(err))
	})
}

// flaky is a transport whose sessions end with an error a few times.
type flaky struct {
	*memory.Transport
	left int
	code driver.Code
}

func (f *flaky) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	if f.left > 0 {
		f.left--
		return nil, &driver.Error{Code: f.code, Op: "subscribe", Topic: s.Topic, Reason: "it is having a day"}
	}
	return f.Transport.Subscribe(ctx, s)
}

// What passes is tried again, with a back-off.
func TestATemporaryEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t"}))
		b, err := bus.New(&flaky{Transport: tr, left: 8, code: bus.CodeUnavailable})
		require.NoError(t, err)
		defer b.Close()
		c, err := consumer.New(b, "t", nop, consumer.Subscribe(bus.Group("g")))
		require.NoError(t, err)
		begun := time.Now()
		require.NoError(t, c.Start())
		synctest.Wait()
		require.Equal(t, bus.CodeUnavailable, bus.CodeOf(c.Current().Cause))
		wait(t, c, consumer.Consuming)
		// 0.2, 0.4, … 25.6 s, each between half and the whole.
		require.InDelta(t, 38.25, time.Since(begun).Seconds(), 12.76)
		require.NoError(t, c.Close(t.Context()))
	})
}

// Whoever watches slowly misses the oldest changes, and holds up nobody.
func TestWatchIsBounded(t *testing.T) {
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
				require.NoError(t, c.Close(t.Context()))
			}
			numbers = append(numbers, change.Number)
		}
		require.EqualValues(t, 1, numbers[0])
		require.Len(t, numbers, 65)
		require.Greater(t, numbers[1], uint64(2), "some were missed")
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

func TestNamesOfStates(t *testing.T) {
	t.Parallel()
	var names []string
	for _, s := range consumer.States() {
		names = append(names, s.String())
	}
	require.Equal(t, []string{"initialising", "stopped", "starting", "consuming", "stopping", "closing", "closed"}, names)
	require.Equal(t, "invalid", consumer.State(99).String())
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for name, o := range map[string]consumer.Option{
		"workers": consumer.WithWorkers(0), "timeout": consumer.WithHandlerTimeout(0), "drain": consumer.WithDrainTimeout(0),
		"attempts": consumer.WithRetry(consumer.Retry{Attempts: -1}), "times": consumer.WithRetry(consumer.Retry{Min: 2, Max: 1}),
		"one time": consumer.WithRetry(consumer.Retry{Max: 1}), "no delays": consumer.WithRetryTopics(), "a delay": consumer.WithRetryTopics(0),
		"retry topics without a group": consumer.WithRetryTopics(1), "dead letter": consumer.WithDeadLetterTopic(""),
		"rate": consumer.WithRate(0, 1), "burst": consumer.WithRate(1, 0), "in flight": consumer.WithMaxInFlight(0),
		"batch": consumer.WithBatch(0, 1), "age": consumer.WithBatch(1, 0), "batch of one": consumer.WithBatch(1, 1),
		"while": consumer.WhileReady(nil), "probe": consumer.WithProbe(nil, "x"), "logger": consumer.WithLogger(nil),
		"subscribe": consumer.Subscribe(bus.Window(0)),
	} {
		_, err := consumer.New(r.Bus, "t", nop, o)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%s: %v", name, err)
	}
	for name, err := range map[string]error{
		"no bus":     second(consumer.New(nil, "t", nop)),
		"no handler": second(consumer.New(r.Bus, "t", nil)),
		"no batch":   second(consumer.NewBatch(r.Bus, "t", nil)),
		"no topic":   second(consumer.New(r.Bus, "", nop)),
		"by key":     second(consumer.NewBatch(r.Bus, "t", new(journal).handleBatch, consumer.Subscribe(bus.OrderByKey()))),
	} {
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%s: %v", name, err)
	}
}

func second[T any](_ T, err error) error { return err }
