package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/transport/memory"
)

// The server finishes the requests that run. The others wait for a slot or behind their key.
func TestShutdownAnswersTheRestUnavailable(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 1)
		opts := []rpc.ServerOption{bus.Concurrency(2), bus.Window(20)}
		if !w.bus.Capabilities().Redelivery {
			opts = append(opts, rpc.WithLeaveOnShutdown()) // has no effect without redelivery
		}
		s := w.server(opts...)
		begun, release := make(chan struct{}, 20), make(chan struct{})
		var ran atomic.Int64
		handle(w, s, "slow", func(_ context.Context, n *number) (*number, error) {
			ran.Add(1)
			begun <- struct{}{}
			<-release
			return n, nil
		})
		w.start(s, topic)
		c := w.client()
		var calls []*rpc.AsyncCall[number] // they are sent in this order
		for _, key := range []string{"a", "b"} {
			calls = append(calls, rpc.CallAsync[number](w.ctx, c, topic, "slow", &number{}, rpc.Key(key)))
			receive(w, begun)
		}
		for _, key := range []string{"a", "a", "b", "c", "d", "e"} { // three wait behind their key, and three for a slot
			calls = append(calls, rpc.CallAsync[number](w.ctx, c, topic, "slow", &number{}, rpc.Key(key)))
		}
		// Requests that wait behind their key have not reached the server's handler.
		here := uint64(5)
		if !w.bus.Capabilities().Ordered {
			here = 8
		}
		w.eventually("the last request waits for a slot", func() bool { return s.Stats().Requests == here })
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(w.ctx) }()
		select {
		case err := <-down:
			require.NoError(w, err)
			w.Fatal("Shutdown did not wait for the handlers")
		case <-calls[7].Done(): // while the first ones still run
			_, err := calls[7].Reply(w.ctx)
			requireError(w, err, codes.Unavailable, true)
		}
		close(release)
		require.NoError(w, receive(w, down))
		for i, call := range calls[:7] {
			_, err := call.Reply(w.ctx)
			if i < 2 {
				require.NoError(w, err)
				continue
			}
			e := requireError(w, err, codes.Unavailable, true)
			require.True(w, e.Retryable())
		}
		require.EqualValues(w, 2, ran.Load())
		require.EqualValues(w, 6, s.Stats().Refused)
	})
}

func TestLeaveOnShutdownLeavesRequestsToAnotherServer(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	serve := func() (*rpc.Server, chan struct{}, chan struct{}) {
		s := w.server(bus.Concurrency(1), rpc.WithLeaveOnShutdown())
		begun, release := make(chan struct{}, 20), make(chan struct{})
		handle(w, s, "slow", func(_ context.Context, n *number) (*number, error) {
			begun <- struct{}{}
			<-release
			return n, nil
		})
		w.start(s, topic)
		return s, begun, release
	}
	first, begun, release := serve()
	c := w.client()
	var results []<-chan result
	for range 4 {
		results = append(results, w.call(w.ctx, c, topic, "slow"))
	}
	receive(w, begun)
	w.eventually("all requests were sent", func() bool { return c.Stats().Pending == 4 })
	_, _, others := serve()
	close(others)
	close(release)
	require.NoError(t, first.Shutdown(w.ctx))
	for _, r := range results {
		require.NoError(t, receive(w, r).err)
	}
	require.Zero(t, first.Stats().Refused)
}

func TestShutdownAnswersInterruptedRequestsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("calc", 1)
		s, err := rpc.NewServer(w.bus)
		require.NoError(t, err)
		handle(w, s, "hang", func(ctx context.Context, _ *number) (*number, error) { <-ctx.Done(); return nil, ctx.Err() })
		w.start(s, topic)
		c := w.client()
		r := w.call(w.ctx, c, topic, "hang")
		synctest.Wait()
		begun := time.Now()
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
		defer cancel()
		requireError(t, s.Shutdown(ctx), codes.DeadlineExceeded, false)
		got := <-r
		requireError(t, got.err, codes.Unavailable, true)
		require.Less(t, time.Since(begun), 5*time.Second)
	})
}

func TestRetriesHideAShutdownUnderLoad(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 4)
		start := func() *rpc.Server {
			s := w.server(bus.Concurrency(4))
			handle(w, s, "double", double)
			w.start(s, topic)
			return s
		}
		first, second := start(), start()
		c := w.client()
		var all sync.WaitGroup
		var mu sync.Mutex
		var errs []error
		stop := make(chan struct{})
		for i := range 8 {
			all.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{n}, rpc.Key(fmt.Sprint(i)),
						rpc.Retry(rpc.RetryPolicy{Max: 20, MinBackoff: 50 * time.Millisecond, MaxBackoff: 200 * time.Millisecond}))
					if err == nil && got.N != 2*n {
						err = errors.New("another's answer")
					}
					if err != nil {
						mu.Lock()
						errs = append(errs, err)
						mu.Unlock()
					}
				}
			})
		}
		w.eventually("calls are answered", func() bool { return first.Stats().Handled > 20 })
		require.NoError(w, first.Shutdown(w.ctx))
		done := second.Stats().Handled
		w.eventually("the second server continues", func() bool { return second.Stats().Handled > done+50 })
		close(stop)
		all.Wait()
		require.NoError(w, errors.Join(errs...))
	})
}

// With at-least-once delivery another server runs the request.
func TestAtMostOnceRequestOfACrashedServerIsNotRunAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opts []rpc.ServerOption
		runs int64
	}{"at most once": {[]rpc.ServerOption{bus.AtMostOnce()}, 1}, "at least once": {nil, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log, err := memory.NewLog()
				require.NoError(t, err)
				w := newFixture(t, onMemoryLog(t, log))
				topic := w.topic("calc", 1)
				var runs atomic.Int64
				begun, hang := make(chan struct{}), make(chan struct{})
				doomed, err := memory.New(memory.WithLog(log))
				require.NoError(t, err)
				b, err := bus.New(doomed)
				require.NoError(t, err)
				first, err := rpc.NewServer(b, tc.opts...)
				require.NoError(t, err)
				handle(w, first, "run", func(context.Context, *number) (*number, error) {
					runs.Add(1)
					close(begun)
					<-hang
					return nil, errors.New("dead")
				})
				w.start(first, topic)
				c := w.client()
				r := w.call(w.ctx, c, topic, "run", rpc.Timeout(time.Second))
				<-begun
				second := w.server(tc.opts...)
				handle(w, second, "run", func(_ context.Context, n *number) (*number, error) { runs.Add(1); return n, nil })
				w.start(second, topic)
				doomed.Crash()
				got := <-r
				if tc.runs == 1 {
					requireError(t, got.err, codes.DeadlineExceeded, false)
				} else {
					require.NoError(t, got.err)
				}
				// The next request is answered, so the first is not delivered again before it.
				_, err = rpc.Call[number](w.ctx, c, topic, "run", &number{})
				require.NoError(t, err)
				close(hang)
				require.Equal(t, tc.runs+1, runs.Load())
				_ = first.Shutdown(w.ctx) // its transport has crashed
				_ = b.Close()
			})
		})
	}
}

func TestAtMostOnceServesCalls(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 2)
		s := w.server(bus.AtMostOnce())
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()
		var all sync.WaitGroup
		errs := make([]error, 100)
		for i := range errs {
			all.Go(func() {
				got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{i}, rpc.Key(fmt.Sprint(i%7)))
				if err == nil && got.N != 2*i {
					err = errors.New("another's answer")
				}
				errs[i] = err
			})
		}
		all.Wait()
		require.NoError(w, errors.Join(errs...))
		require.EqualValues(w, 100, s.Stats().Handled)
	})
}

func TestShutdownWaitsForHandlersAndTheirReplies(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("slow", 1)
		s := w.server()
		started, finish := make(chan struct{}), make(chan struct{})
		handle(w, s, "wait", func(context.Context, *number) (*number, error) {
			close(started)
			<-finish
			return &number{1}, nil
		})
		w.start(s, topic)
		r := w.call(w.ctx, w.client(), topic, "wait")
		receive(w, started)
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(w.ctx) }()
		w.eventually("the server is shutting down", func() bool { err := s.Listen(""); return rpc.CodeOf(err) == codes.Unavailable })
		close(finish)
		require.NoError(w, receive(w, down))
		require.NoError(w, receive(w, r).err)
	})
}

func TestShutdownThatRunsOutOfTimeLeavesRequestsUnacknowledged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("slow", 1)
		s, err := rpc.NewServer(w.bus, rpc.WithLeaveOnShutdown())
		require.NoError(t, err)
		causes := make(chan error, 1)
		handle(w, s, "wait", func(ctx context.Context, _ *number) (*number, error) {
			<-ctx.Done()
			causes <- ctx.Err()
			return nil, ctx.Err()
		})
		w.start(s, topic)
		c := w.client()
		r := w.call(w.ctx, c, topic, "wait")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		defer cancel()
		requireError(t, s.Shutdown(ctx), codes.DeadlineExceeded, false)
		require.ErrorIs(t, <-causes, context.Canceled)
		synctest.Wait()
		require.Equal(t, 1, c.Stats().Pending, "the caller still waits")

		// The request is delivered to the next server.
		next := w.server()
		handle(w, next, "wait", func(context.Context, *number) (*number, error) { return &number{1}, nil })
		w.start(next, topic)
		require.NoError(t, (<-r).err)
	})
}

// A one-way request has no caller that could get Unavailable.
func TestInterruptedOneWayRequestRunsAgain(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("log", 1)
	s, err := rpc.NewServer(w.bus)
	require.NoError(t, err)
	begun := make(chan struct{})
	handle(w, s, "note", func(ctx context.Context, _ *number) (*number, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	w.start(s, topic)
	require.NoError(t, rpc.Send(w.ctx, w.client(), topic, "note", &number{}))
	receive(w, begun)
	ended, cancel := context.WithCancel(w.ctx)
	cancel()
	require.Error(t, s.Shutdown(ended))
	again := make(chan struct{})
	next := w.server()
	handle(w, next, "note", func(context.Context, *number) (*number, error) { close(again); return &number{}, nil })
	w.start(next, topic)
	receive(w, again)
}
