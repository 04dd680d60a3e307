package rpc_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

func TestInterceptorsWrapInTheirOrder(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	var mu sync.Mutex
	var trail []string
	mark := func(name string) rpc.Interceptor {
		return func(next rpc.Func) rpc.Func {
			return func(ctx context.Context, r *rpc.Request) (*rpc.Response, error) {
				mu.Lock()
				trail = append(trail, name)
				mu.Unlock()
				return next(context.WithValue(ctx, markKey(name), name), r)
			}
		}
	}
	s := w.server(rpc.WithInterceptors(mark("s1"), mark("s2")))
	handle(w, s, "double", func(ctx context.Context, n *number) (*number, error) {
		assert.Equal(t, "s2", ctx.Value(markKey("s2")))
		return double(ctx, n)
	})
	w.start(s, topic)
	c := w.client(rpc.WithInterceptors(mark("c1")), rpc.WithInterceptors(mark("c2")))
	_, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1})
	require.NoError(t, err)
	require.Equal(t, []string{"c1", "c2", "s1", "s2"}, trail)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	_, err = rpc.Call[number](ctx, c, topic, "double", &number{1})
	requireError(t, err, codes.Canceled, false)
}

type markKey string

func TestInvalidOptionsAreRejected(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	for _, o := range []rpc.ClientOption{
		rpc.WithName(""), rpc.WithName("a b"), rpc.WithDefaultTimeout(0), rpc.WithMaxPending(0), rpc.WithWire(nil), rpc.WithLogger(nil),
		rpc.WithInterceptors(nil), rpc.WithCodecs(nil), rpc.WithReplyTopic(bus.TopicSpec{Name: "x"}), rpc.WithCallDefaults(rpc.Timeout(-1)),
	} {
		_, err := rpc.NewClient(w.bus, o)
		requireError(t, err, codes.InvalidArgument, false)
	}
	for _, o := range []rpc.ServerOption{
		bus.Group(""), bus.Concurrency(0), bus.Window(0), rpc.WithReplayCache(-1, 0), rpc.WithClockSkew(-1), bus.DeadLetterTopic(""), rpc.WithAllowedReplyTopics(nil),
	} {
		_, err := rpc.NewServer(w.bus, o)
		requireError(t, err, codes.InvalidArgument, false)
	}
	_, err := rpc.NewClient(nil)
	requireError(t, err, codes.InvalidArgument, false)
	_, err = rpc.NewServer(nil)
	requireError(t, err, codes.InvalidArgument, false)
	_, err = rpc.Call[number](w.ctx, w.client(), "t", "m", 1, rpc.Timeout(0))
	requireError(t, err, codes.InvalidArgument, false)
	_, err = w.client().Invoke(w.ctx, nil)
	requireError(t, err, codes.InvalidArgument, false)
}

func TestInvalidRegistrationsAreReturnedByListen(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	requireError(t, rpc.Handle(s, "late", double), codes.FailedPrecondition, false)

	for _, register := range []func(*rpc.Server) error{
		func(s *rpc.Server) error { return rpc.Handle(s, "double", double) },
		func(s *rpc.Server) error { return rpc.Handle(s, "", double) },
		func(s *rpc.Server) error { return rpc.Handle[number, number](s, "nil", nil) },
		func(s *rpc.Server) error { return s.HandleFunc("nil", nil) },
	} {
		s := w.server()
		handle(w, s, "double", double)
		err := register(s)
		requireError(t, err, codes.FailedPrecondition, false)
		again := s.Listen(topic)
		require.ErrorIs(t, again, err, "Listen returns the error of the registration")
	}
	requireError(t, w.server().Ready(w.ctx), codes.FailedPrecondition, false)
}
