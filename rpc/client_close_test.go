package rpc_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/transport/memory"
)

// Calls wait for a reply, for the reply reader, for space in the transport's queue, and in
// a pause between attempts.
func TestCloseEndsEveryWaitAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, err := memory.NewLog(memory.WithMaxRecords(1))
		require.NoError(t, err)
		tr, err := memory.New(memory.WithLog(log))
		require.NoError(t, err)
		b, err := bus.New(tr)
		require.NoError(t, err)
		defer b.Close()
		ctx := context.Background()
		for _, topic := range []string{"deserted", "full"} {
			require.NoError(t, b.EnsureTopic(ctx, bus.TopicSpec{Name: topic}))
		}
		c, err := rpc.NewClient(b, rpc.WithWaitForServer())
		require.NoError(t, err)
		require.NoError(t, c.Ready(ctx))
		// A handler that never returns keeps the queue of the topic "full" full.
		sub, err := b.Consume(ctx, "full", func(ctx context.Context, _ *bus.Delivery) error { <-ctx.Done(); return ctx.Err() }, bus.Group("stuck"))
		require.NoError(t, err)
		require.NoError(t, sub.Ready(ctx))

		results := make(chan error, 10)
		call := func(topic string, opts ...rpc.CallOption) {
			go func() {
				_, err := rpc.Call[number](ctx, c, topic, "m", 1, append(opts, rpc.Timeout(time.Hour))...)
				results <- err
			}()
		}
		call("deserted")
		for range 3 {
			call("full")
		}
		call("nowhere", rpc.Retry(rpc.RetryPolicy{Max: 9, MinBackoff: time.Minute, MaxBackoff: time.Minute, Codes: []codes.Code{codes.Unimplemented}}))
		synctest.Wait()
		begun := time.Now()
		require.NoError(t, c.Close())
		for range 5 {
			requireError(t, <-results, codes.Unavailable, false)
		}
		require.Zero(t, time.Since(begun), "all calls end at once")

		// A call that waits for a reader which is never ready.
		tr.Disconnect(nil)
		c, err = rpc.NewClient(b, rpc.WithWaitForServer())
		require.NoError(t, err)
		call = func(topic string, _ ...rpc.CallOption) {
			go func() { _, err := rpc.Call[number](ctx, c, topic, "m", 1); results <- err }()
		}
		call("deserted")
		synctest.Wait()
		begun = time.Now()
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		requireError(t, <-results, codes.Unavailable, false)
		require.Zero(t, time.Since(begun))
		requireError(t, <-closed, codes.Unavailable, false) // the client cannot find out whether its topic exists
		require.Equal(t, 5*time.Second, time.Since(begun))
		stop, cancel := context.WithCancel(ctx)
		cancel()
		_ = sub.Shutdown(stop) // ends the handler if it is still running
	})
}

func TestClosedBusEndsTheCalls(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("deserted", 1)
	tr := w.open()
	b, err := bus.New(tr)
	require.NoError(t, err)
	c, err := rpc.NewClient(b, rpc.WithWaitForServer())
	require.NoError(t, err)
	r := w.call(w.ctx, c, topic, "m")
	w.eventually("the call waits", func() bool { return c.Stats().Pending == 1 })
	require.NoError(t, b.Close())
	requireError(t, receive(w, r).err, codes.Unavailable, false)
	_, err = rpc.Call[number](w.ctx, c, topic, "m", 1)
	requireError(t, err, codes.Unavailable, false)
	require.ErrorContains(t, c.Close(), "not deleted")
}
