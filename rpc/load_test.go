package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/rpc"
)

func TestCloseUnderLoadEndsAllCalls(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 4)
		s := w.server()
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()
		var all sync.WaitGroup
		var answered atomic.Int64
		for range 32 {
			all.Go(func() {
				for i := 0; ; i++ {
					got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{i})
					if err != nil {
						if e, ok := errors.AsType[*rpc.Error](err); !ok || e.Code() != codes.Unavailable || e.Retryable() {
							w.Errorf("a closed client returned %v", err)
						}
						return
					}
					if got.N != 2*i {
						w.Errorf("the call with %d got %d", i, got.N)
					}
					answered.Add(1)
				}
			})
		}
		w.eventually("calls are running", func() bool { return answered.Load() > 200 })
		require.NoError(w, c.Close())
		all.Wait()
		require.Zero(w, c.Stats().Pending)
	})
}

func TestSecondServerTakesOverWithoutErrors(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 8)
	servers := [2]*rpc.Server{w.server(rpc.WithLeaveOnShutdown()), w.server()}
	for _, s := range servers {
		handle(w, s, "double", double)
		w.start(s, topic)
	}
	c := w.client()
	ctx, cancel := context.WithCancel(w.ctx)
	var all sync.WaitGroup
	var answered atomic.Int64
	for g := range 32 {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{i}, rpc.Key(fmt.Sprint(g, i)))
				if err != nil || got.N != 2*i {
					w.Errorf("the call with %d returned %v, %v", i, got, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	w.eventually("both servers answer", func() bool { return servers[0].Stats().Handled > 100 && servers[1].Stats().Handled > 100 })
	require.NoError(t, servers[0].Shutdown(w.ctx))
	require.NoError(t, servers[0].Shutdown(w.ctx))
	require.Zero(t, servers[0].Stats().InFlight)
	handled := servers[0].Stats().Handled
	since := answered.Load()
	w.eventually("the second server continues", func() bool { return answered.Load() > since+500 })
	cancel()
	all.Wait()
	require.Equal(t, handled, servers[0].Stats().Handled)
	err := servers[0].Listen(topic)
	requireError(t, err, codes.Unavailable, false)
}
