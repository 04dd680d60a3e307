package rpc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/rpc"
)

type calculator struct{ factor int }

func (c *calculator) times(_ context.Context, n *number) (*number, error) {
	return &number{c.factor * n.N}, nil
}

func (c *calculator) service() rpc.Service {
	return rpc.Service{Name: "calculator", Version: "1.2.3", Methods: []rpc.Method{
		rpc.NewMethod("times", c.times),
		rpc.NewMethod("echo", func(_ context.Context, s *wrapperspb.StringValue) (*wrapperspb.StringValue, error) { return s, nil }),
		rpc.NewRawMethod("raw", func(_ context.Context, r *rpc.Request) (*rpc.Response, error) {
			return &rpc.Response{Body: r.Body}, nil
		}),
	}}
}

func TestRegisteredServiceIsServed(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 1)
		s := w.server()
		require.NoError(w, s.Register((&calculator{3}).service()))
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()
		got, err := rpc.Call[number](w.ctx, c, topic, "times", &number{5})
		require.NoError(w, err)
		require.Equal(w, 15, got.N)
		got, err = rpc.Call[number](w.ctx, c, topic, "double", &number{5})
		require.NoError(w, err)
		require.Equal(w, 10, got.N)
		text, err := rpc.Call[wrapperspb.StringValue](w.ctx, c, topic, "echo", wrapperspb.String("x"))
		require.NoError(w, err)
		require.Equal(w, "x", text.Value)
		raw, err := rpc.Call[[]byte](w.ctx, c, topic, "raw", []byte("y"))
		require.NoError(w, err)
		require.Equal(w, "y", string(*raw))
		_, err = rpc.Call[number](w.ctx, c, topic, "unknown", &number{5})
		requireError(w, err, codes.Unimplemented, true)
		require.Error(w, s.Register(rpc.Service{Name: "other"}), "the server listens already")
	})
}

func TestInvalidServicesAreNotRegistered(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	m := rpc.NewMethod("double", double)
	require.Equal(t, "rpc_test.number", m.Request)
	require.Equal(t, "google.protobuf.StringValue", (&calculator{}).service().Methods[1].Request)
	for name, svc := range map[string]rpc.Service{
		"no name": {Methods: []rpc.Method{m}}, "name": {Name: "a b"}, "twice": {Name: "s", Methods: []rpc.Method{m, m}},
		"no handler": {Name: "s", Methods: []rpc.Method{rpc.NewMethod[number, number]("x", nil)}}, "raw": {Name: "s", Methods: []rpc.Method{rpc.NewRawMethod("x", nil)}},
		"taken": {Name: "s", Methods: []rpc.Method{rpc.NewMethod("other", double), rpc.NewMethod("mine", double)}},
		"zero":  {Name: "s", Methods: []rpc.Method{{Name: "zero"}}},
	} {
		s := w.server()
		handle(w, s, "mine", double)
		err := s.Register(svc)
		requireError(t, err, codes.FailedPrecondition, false)
		again := s.Listen(topic)
		require.ErrorIs(t, again, err, name)
		require.Len(t, s.MethodStats(), 1, "none of the methods is registered")
	}
	s := w.server()
	require.NoError(t, s.Register(rpc.Service{Name: "s"}))
	requireError(t, s.Register(rpc.Service{Name: "s2"}), codes.FailedPrecondition, false)
}

// The caller gets InvalidArgument, and the next request with the same key runs.
func TestUndecodableBodyIsADeadLetter(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic, dead := w.topic("calc", 1), w.topic("dead", 1)
		type letter struct{ key, body, cause string }
		letters := make(chan letter, 10)
		sub, err := w.bus.Consume(w.ctx, dead, func(_ context.Context, d *bus.Delivery) error {
			letters <- letter{string(d.Key), string(d.Payload), d.Message().Metadata.Get(deadletter.CauseHeader)}
			return nil
		})
		require.NoError(w, err)
		require.NoError(w, sub.Ready(w.ctx))
		w.Cleanup(func() { require.NoError(w, sub.Shutdown(w.ctx)) })
		s := w.server(bus.DeadLetterTopic(dead))
		handle(w, s, "double", double)
		handle(w, s, "refuse", func(context.Context, *number) (*number, error) {
			return nil, status.Error(codes.InvalidArgument, "odd")
		})
		w.start(s, topic)
		c := w.client()
		_, err = rpc.Call[number](w.ctx, c, topic, "refuse", &number{1}, rpc.Key("k"))
		requireError(w, err, codes.InvalidArgument, true) // from the handler: no dead letter
		_, err = rpc.Call[number](w.ctx, c, topic, "double", "a string", rpc.Key("k"))
		requireError(w, err, codes.InvalidArgument, true)
		got := receive(w, letters)
		require.Equal(w, `"a string"`, got.body)
		require.Equal(w, "k", got.key)
		require.Contains(w, got.cause, "decode the request")
		n, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1}, rpc.Key("k"))
		require.NoError(w, err)
		require.Equal(w, 2, n.N)
		require.Empty(w, letters)
	})
}

func TestMethodStatsCountEachMethod(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server()
	handle(w, s, "double", double)
	block, blocked := make(chan struct{}), make(chan struct{})
	handle(w, s, "block", func(_ context.Context, n *number) (*number, error) {
		close(blocked)
		<-block
		return n, nil
	})
	handle(w, s, "fail", func(_ context.Context, n *number) (*number, error) {
		return nil, status.Error(codes.Code(n.N), "because")
	})
	handle(w, s, "panic", func(context.Context, *number) (*number, error) { panic("secret") })
	w.start(s, topic)
	c := w.client()
	for range 10 {
		_, err := rpc.Call[number](w.ctx, c, topic, "double", &number{1})
		require.NoError(t, err)
	}
	before := time.Now()
	for _, code := range []codes.Code{codes.NotFound, codes.NotFound, codes.Aborted, 99} {
		_, err := rpc.Call[number](w.ctx, c, topic, "fail", &number{int(code)})
		require.Error(t, err)
	}
	_, err := rpc.Call[number](w.ctx, c, topic, "panic", &number{})
	requireError(t, err, codes.Internal, true)
	require.NotContains(t, err.Error(), "secret")
	require.Contains(t, w.log.last(), "secret")
	require.Contains(t, w.log.last(), "service_test.go", "the log record has the stack")
	r := w.call(w.ctx, c, topic, "block")
	receive(w, blocked)
	stats := map[string]rpc.MethodStats{}
	for _, m := range s.MethodStats() {
		stats[m.Method] = m
	}
	require.Len(t, stats, 4)
	require.EqualValues(t, 10, stats["double"].Requests)
	require.Nil(t, stats["double"].LastError)
	require.Empty(t, stats["double"].Errors)
	l := stats["double"].Latency
	require.Positive(t, l.P50)
	require.True(t, l.P50 <= l.P90 && l.P90 <= l.P99 && l.P99 <= l.P999 && l.P999 <= l.Max, "%+v", l)
	require.Equal(t, map[string]uint64{"NotFound": 2, "Aborted": 1, "Unknown": 1}, stats["fail"].Errors)
	require.Equal(t, "because", stats["fail"].LastError.Message)
	require.False(t, stats["fail"].LastError.At.Before(before))
	require.Equal(t, map[string]uint64{"Internal": 1}, stats["panic"].Errors)
	require.Equal(t, 1, stats["block"].InFlight)
	require.Zero(t, stats["block"].Latency)
	close(block)
	require.NoError(t, receive(w, r).err)
}

func TestLoggingAndRecoveryInterceptors(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	var caught rpc.Panic
	rescued := errors.New("rescued")
	log := &logRecorder{}
	s := w.server(rpc.WithInterceptors(rpc.Logging(log.logger()), rpc.Recovery(func(_ context.Context, p rpc.Panic) error {
		caught = p
		if p.Method == "mine" {
			return rescued
		}
		return nil
	})))
	handle(w, s, "double", double)
	handle(w, s, "panic", func(context.Context, *number) (*number, error) { panic("secret") })
	handle(w, s, "mine", func(context.Context, *number) (*number, error) { panic("secret") })
	w.start(s, topic)
	c := w.client()
	_, err := rpc.Call[number](w.ctx, c, topic, "panic", &number{}, rpc.Key("k"), rpc.Header("x-secret", "secret"))
	requireError(t, err, codes.Internal, true)
	require.NotContains(t, err.Error(), "secret")
	require.Equal(t, "secret", caught.Value)
	require.Contains(t, string(caught.Stack), "service_test.go")
	for _, part := range []string{"topic=calc", "method=panic", "code=Internal", "key=k", "attempt=1", "caller=client."} {
		require.Contains(t, log.last(), part)
	}
	require.NotContains(t, log.last(), "secret")
	_, err = rpc.Call[number](w.ctx, c, topic, "mine", &number{})
	requireError(t, err, codes.Unknown, true)
	require.ErrorContains(t, err, "rescued")
	require.Zero(t, s.Stats().Panics, "no panic reached the server")
	_, err = rpc.Call[number](w.ctx, c, topic, "double", &number{})
	require.NoError(t, err)
	require.Contains(t, log.last(), "code=OK")
	require.Contains(t, log.last(), "level=DEBUG")
}
