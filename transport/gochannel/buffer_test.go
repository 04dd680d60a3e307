package gochannel_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/gochannel"
)

func TestUndeliveredMessageReachesNoSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := open(t, gochannel.WithBuffer(2))
		_, stalled := subscribe(t, tr, "orders")
		_, quick := subscribe(t, tr, "orders")
		sink := newOutcomes(t)
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0), outgoing(t.Context(), sink, "orders", 1)})
		require.Equal(t, numbers(0, 2), read(t, quick, 0, 2))

		deadline, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		canceled, cancelLater := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancelLater)
		ended, end := context.WithCancel(t.Context())
		end()
		start := time.Now()
		tr.Publish([]driver.Outgoing{
			outgoing(deadline, sink, "orders", 2), outgoing(canceled, sink, "orders", 3), outgoing(ended, sink, "orders", 4),
		})
		require.Equal(t, 2*time.Second, time.Since(start))
		require.Equal(t, driver.CodeDeadlineExceeded, sink.code(t, 2))
		require.ErrorIs(t, sink.got[2].Err, context.DeadlineExceeded)
		require.Equal(t, driver.CodeCanceled, sink.code(t, 3))
		require.Equal(t, driver.CodeCanceled, sink.code(t, 4))

		require.Equal(t, numbers(0, 2), read(t, stalled, 0, 2))
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 5)})
		require.Equal(t, []string{"5"}, read(t, quick, 2, 1), "the undelivered messages reached no session")
		require.Equal(t, []string{"5"}, read(t, stalled, 2, 1), "the undelivered messages reached no session")
	})
}

func TestWaitingPublishersPublishInOrderOfArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := open(t, gochannel.WithBuffer(1))
		_, p := subscribe(t, tr, "orders")
		sink := newOutcomes(t)
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0)})
		cancelable, cancel := context.WithCancel(t.Context())
		for i := range 6 {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = cancelable
			}
			go tr.Publish([]driver.Outgoing{outgoing(ctx, sink, "orders", i+1)})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		require.Equal(t, []string{"0", "2", "4", "6"}, read(t, p, 0, 4))
		for _, i := range []int{1, 3, 5} {
			require.Equal(t, driver.CodeCanceled, sink.code(t, i))
		}
	})
}

func TestFullBufferDelaysOnlyItsTopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := open(t, gochannel.WithBuffer(1))
		stalled, _ := subscribe(t, tr, "a")
		_, other := subscribe(t, tr, "b")
		sink := newOutcomes(t)
		batch := []driver.Outgoing{
			outgoing(t.Context(), sink, "a", 0), outgoing(t.Context(), sink, "a", 1),
			outgoing(t.Context(), sink, "b", 2), outgoing(t.Context(), sink, "b", 3),
		}
		done := make(chan struct{})
		go func() { defer close(done); tr.Publish(batch) }()
		synctest.Wait()

		require.Equal(t, numbers(2, 2), read(t, other, 0, 2), "the other topic is delivered, although it is in the same batch")
		_, late := subscribe(t, tr, "a")
		require.NoError(t, stalled.Close(t.Context()))
		require.Equal(t, []string{"1"}, read(t, late, 0, 1), "closing the session with the full buffer makes space")
		<-done
		require.Equal(t, 4, sink.accepted())
	})
}

func TestFullBufferStartsNoGoroutines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := open(t, gochannel.WithBuffer(100))
		_, p := subscribe(t, tr, "orders")
		before := runtime.NumGoroutine()
		sink := newOutcomes(t)
		const n = 20_000
		for i := range n {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			tr.Publish([]driver.Outgoing{outgoing(ctx, sink, "orders", i)})
			cancel()
		}
		synctest.Wait()
		// Other tests run concurrently, so the bound is below one goroutine for each message.
		require.Less(t, runtime.NumGoroutine()-before, n/100)
		require.Equal(t, 100, sink.accepted())
		require.Equal(t, numbers(0, 100), read(t, p, 0, 100))
	})
}
