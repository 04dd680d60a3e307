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

func TestClientIsClosedUnderLoad(t *testing.T) {
	everywhere(t, func(w *world) {
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
						if e := requireError(w, err, codes.Unavailable, false); e.Retryable() {
							w.Error("a closed client can't be retried on")
						}
						return
					}
					if got.N != 2*i {
						w.Errorf("%d was answered with %d", i, got.N)
					}
					answered.Add(1)
				}
			})
		}
		w.eventually("calls are under way", func() bool { return answered.Load() > 200 })
		require.NoError(w, c.Close())
		all.Wait()
		require.Zero(w, c.Stats().Pending)
	})
}

// Close ends calls that wait, for whatever: their reply, the reader, room, a pause.
func TestCloseEndsEveryWait(t *testing.T) {
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
		// Somebody who reads nothing more keeps "full" full.
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
		require.Zero(t, time.Since(begun), "at once")

		// And for a reader that never gets ready.
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
		requireError(t, <-closed, codes.Unavailable, false) // it can't know whether its topic is there
		require.Equal(t, 5*time.Second, time.Since(begun))
		stop, cancel := context.WithCancel(ctx)
		cancel()
		_ = sub.Shutdown(stop) // cuts its handler off, unless that has ended with its partition first
	})
}

func TestBusIsClosedUnderACall(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("deserted", 1)
	tr := w.open()
	b, err := bus.New(tr)
	require.NoError(t, err)
	c, err := rpc.NewClient(b, rpc.WithWaitForServer())
	require.NoError(t, err)
	r := w.call(w.ctx, c, topic, "m")
	w.eventually("it waits", func() bool { return c.Stats().Pending == 1 })
	require.NoError(t, b.Close())
	requireError(t, (<-r).err, codes.Unavailable, false)
	_, err = rpc.Call[number](w.ctx, c, topic, "m", 1)
	requireError(t, err, codes.Unavailable, false)
	require.ErrorContains(t, c.Close(), "not deleted")
}

// Every call that ends well got its own answer; none hangs; what the first server
// did not begin the second one answers.
func TestServerIsStoppedUnderLoad(t *testing.T) {
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
					w.Errorf("%d: %v, %v", i, got, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	w.eventually("both answer", func() bool { return servers[0].Stats().Handled > 100 && servers[1].Stats().Handled > 100 })
	require.NoError(t, servers[0].Shutdown(w.ctx))
	require.NoError(t, servers[0].Shutdown(w.ctx))
	require.Zero(t, servers[0].Stats().InFlight)
	handled := servers[0].Stats().Handled
	since := answered.Load()
	w.eventually("the other one goes on", func() bool { return answered.Load() > since+500 })
	cancel()
	all.Wait()
	require.Equal(t, handled, servers[0].Stats().Handled)
	err := servers[0].Listen(topic)
	requireError(t, err, codes.Unavailable, false)
}

func TestShutdownWaitsForHandlersAndTheirReplies(t *testing.T) {
	everywhere(t, func(w *world) {
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
		<-started
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(w.ctx) }()
		w.eventually("it is shut", func() bool { err := s.Listen(""); return rpc.CodeOf(err) == codes.Unavailable })
		close(finish)
		require.NoError(w, <-down)
		require.NoError(w, (<-r).err)
	})
}

func TestShutdownThatRunsOutOfTime(t *testing.T) {
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
		require.Equal(t, 1, c.Stats().Pending, "that is no answer")

		// The request is delivered again, to the next server.
		next := w.server()
		handle(w, next, "wait", func(context.Context, *number) (*number, error) { return &number{1}, nil })
		w.start(next, topic)
		require.NoError(t, (<-r).err)
	})
}

// A request whose partition is taken away while its handler runs is the next
// owner's; the first one's error is not the answer.
func TestRevokedRequestIsRunElsewhere(t *testing.T) {
	t.Parallel()
	log, err := memory.NewLog()
	require.NoError(t, err)
	w := newWorld(t, onMemoryLog(t, log))
	topic := w.topic("moving", 1)
	s := w.server()
	var runs atomic.Int64
	first := make(chan struct{})
	handle(w, s, "run", func(ctx context.Context, _ *number) (*number, error) {
		if runs.Add(1) == 1 {
			close(first)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &number{2}, nil
	})
	w.start(s, topic)
	r := w.call(w.ctx, w.client(), topic, "run")
	<-first
	require.NoError(t, log.ExpireMembers("trunkline.rpc."+topic, topic))
	got := <-r
	require.NoError(t, got.err)
	require.Equal(t, 2, got.n.N)
	require.EqualValues(t, 2, runs.Load())
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	everywhere(t, func(w *world) {
		topics := []string{w.topic("calc", 1), w.topic("other", 1)}
		s := w.server()
		handle(w, s, "double", double)
		for _, topic := range topics {
			require.NoError(w, s.Listen(topic))
		}
		ctx, cancel := context.WithCancel(w.ctx)
		ran := make(chan error, 1)
		go func() { ran <- s.Run(ctx) }()
		require.NoError(w, s.Ready(w.ctx))
		for _, topic := range topics {
			_, err := rpc.Call[number](w.ctx, w.client(), topic, "double", &number{1})
			require.NoError(w, err)
		}
		cancel()
		require.NoError(w, <-ran)
		require.NoError(w, s.Run(w.ctx), "it is shut down")
		requireError(w, s.Listen(topics[0]), codes.Unavailable, false)
	})
}

func TestRunReturnsWhenTheServerIsShutDown(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	s := w.server()
	require.NoError(t, s.Listen(w.topic("calc", 1)))
	ran := make(chan error, 1)
	go func() { ran <- s.Run(w.ctx) }()
	require.NoError(t, s.Close())
	require.NoError(t, <-ran)
}

func TestRunReturnsWhenTheBusIsClosed(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	s := w.server()
	require.NoError(t, s.Listen(w.topic("calc", 1)))
	ran := make(chan error, 1)
	go func() { ran <- s.Run(w.ctx) }()
	require.NoError(t, s.Ready(w.ctx))
	require.NoError(t, w.bus.Close())
	require.NoError(t, <-ran)
}

func TestRunReturnsWhyASubscriptionEnded(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	s := w.server()
	require.NoError(t, s.Listen(w.topic("calc", 1)))
	require.NoError(t, s.Listen("nowhere"))
	err := s.Run(w.ctx)
	require.ErrorContains(t, err, "nowhere")
	require.Equal(t, codes.Unimplemented, rpc.CodeOf(err))
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(err))
	requireError(t, s.Listen("calc"), codes.Unavailable, false)
}

func TestRunWithoutListenFails(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	requireError(t, w.server().Run(w.ctx), codes.FailedPrecondition, false)
	requireError(t, w.server().Ready(w.ctx), codes.FailedPrecondition, false)
}

func TestNewServerRejectsSubscriptionOptionsThatCannotApply(t *testing.T) {
	t.Parallel()
	_, err := rpc.NewServer(newWorld(t, onGochannel(t)).bus, bus.Group("g"))
	requireError(t, err, codes.Unimplemented, false)
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
	b := inMemory(t).bus
	for _, o := range []rpc.ServerOption{bus.Group(""), bus.Concurrency(0), bus.BatchSize(2), bus.BatchAge(time.Second), nil} {
		_, err := rpc.NewServer(b, o)
		requireError(t, err, codes.InvalidArgument, false)
	}
	_, err = rpc.NewServer(b, bus.AtMostOnce(), bus.InFlight(2))
	requireError(t, err, codes.InvalidArgument, false)
}

// One server may answer on several topics, and a handler may make calls.
func TestHandlersMakeCalls(t *testing.T) {
	everywhere(t, func(w *world) {
		front, back := w.topic("front", 2), w.topic("back", 2)
		s, c := w.server(), w.client()
		handle(w, s, "double", double)
		handle(w, s, "quadruple", func(ctx context.Context, n *number) (*number, error) {
			m, err := rpc.Call[number](ctx, c, back, "double", n)
			if err != nil {
				return nil, err
			}
			return double(ctx, m)
		})
		w.start(s, front)
		w.start(s, back)
		var all sync.WaitGroup
		errs := make([]error, 50)
		for i := range errs {
			all.Go(func() {
				got, err := rpc.Call[number](w.ctx, c, front, "quadruple", &number{i})
				if err == nil && got.N != 4*i {
					err = fmt.Errorf("%d became %d", i, got.N)
				}
				errs[i] = err
			})
		}
		all.Wait()
		require.NoError(w, errors.Join(errs...))
	})
}

// The context of a handler keeps the promises of package context, whatever is asked
// of it first.
func TestHandlerContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("calc", 1)
		s := w.server()
		seen := make(chan context.Context, 1)
		handle(w, s, "expire", func(ctx context.Context, n *number) (*number, error) {
			seen <- ctx
			time.Sleep(2 * time.Second)
			require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
			require.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
			<-ctx.Done()
			return n, nil
		})
		handle(w, s, "derive", func(ctx context.Context, n *number) (*number, error) {
			seen <- ctx
			child, cancel := context.WithTimeoutCause(ctx, time.Second, errors.New("child"))
			defer cancel()
			<-child.Done()
			require.NoError(t, ctx.Err())
			require.EqualError(t, context.Cause(child), "child")
			info, ok := rpc.FromContext(child)
			require.True(t, ok)
			require.Equal(t, "derive", info.Method)
			return n, nil
		})
		handle(w, s, "nothing", func(ctx context.Context, n *number) (*number, error) { seen <- ctx; return n, nil })
		w.start(s, topic)
		c := w.client()
		_, err := rpc.Call[number](w.ctx, c, topic, "expire", &number{}, rpc.Timeout(time.Second))
		require.Equal(t, codes.DeadlineExceeded, rpc.CodeOf(err))
		time.Sleep(2 * time.Second)
		kept := <-seen
		require.ErrorIs(t, kept.Err(), context.DeadlineExceeded)
		for _, method := range []string{"derive", "nothing"} {
			_, err = rpc.Call[number](w.ctx, c, topic, method, &number{})
			require.NoError(t, err)
			kept := <-seen
			synctest.Wait() // the answer may come before the handler's goroutine has left
			require.ErrorIs(t, kept.Err(), context.Canceled, "it ends with its handler")
			<-kept.Done()
		}
	})
}
