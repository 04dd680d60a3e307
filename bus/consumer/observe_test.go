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
	"github.com/trunkline/trunkline/bus/hook"
)

func TestObserveEndsWithRemove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c := r.consumer(t, nop)
		var first, second atomic.Int64
		remove := c.Observe(func(consumer.HandlerCall) { first.Add(1) })
		c.Observe(func(consumer.HandlerCall) { second.Add(1) })
		consuming(t, c)
		r.publish(t, 0, 2, nil)
		synctest.Wait()
		remove()
		r.publish(t, 2, 3, nil)
		synctest.Wait()
		require.Equal(t, []int64{2, 5}, []int64{first.Load(), second.Load()})
	})
}

func TestBlockedMessageThatIsDroppedIsNotBlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		var drop atomic.Bool
		c := r.consumer(t, func(context.Context, *bus.Delivery) error {
			if drop.Load() {
				return bus.Drop(errTest)
			}
			return errTest
		})
		consuming(t, c)
		elapse(time.Hour)
		require.EqualValues(t, 1, c.Stats().Blocked)
		drop.Store(true)
		elapse(time.Minute)
		require.Zero(t, c.Stats().Blocked)
		require.EqualValues(t, 1, r.committed(0))
	})
}

func TestPauseAppliesToMessagesThatWaitForTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 2, nil)
		var j journal
		c := r.consumer(t, j.handle, consumer.WithRate(1, 1))
		consuming(t, c)
		elapse(500 * time.Millisecond)
		c.Pause()
		elapse(time.Hour)
		require.Equal(t, sequence(0, 1), j.all())
		c.Resume()
		synctest.Wait()
		require.Equal(t, sequence(0, 2), j.all())
	})
}

// deliveryErrors is a hook that collects the errors of deliveries.
type deliveryErrors struct{ all chan error }

func (h deliveryErrors) OnDelivery(e hook.DeliveryEvent) { h.all <- e.Err }

func TestHooksGetTheErrorOfMessagesThatGoToARetryTopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := deliveryErrors{make(chan error, 10)}
		r := newRig(t, 1, bus.WithHooks(h))
		r.publish(t, 0, 1, nil)
		c := r.consumer(t, func(context.Context, *bus.Delivery) error { return errTest }, consumer.WithRetryTopics(time.Hour))
		consuming(t, c)
		require.ErrorIs(t, receive(t, h.all), errTest)
		begun := time.Now()
		require.NoError(t, c.Close())
		require.Zero(t, time.Since(begun), "Close does not wait for copies that are not due")
	})
}
