package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

func TestCallIsAnswered(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("calc", 4)
		s := w.server()
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()
		got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{21})
		require.NoError(w, err)
		require.Equal(w, 42, got.N)
		require.Equal(w, rpc.ClientStats{Calls: 1}, c.Stats())
		require.EqualValues(w, 1, s.Stats().Handled)
	})
}

func TestEveryCallGetsItsOwnAnswer(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("calc", 4)
		s := w.server()
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()
		var all sync.WaitGroup
		errs := make([]error, 1000)
		for i := range errs {
			all.Go(func() {
				got, err := rpc.Call[number](w.ctx, c, topic, "double", number{i})
				if err == nil && got.N != 2*i {
					err = fmt.Errorf("call %d got %d", i, got.N)
				}
				errs[i] = err
			})
		}
		all.Wait()
		require.NoError(w, errors.Join(errs...))
		n := c.Stats()
		require.Zero(w, n.Pending+int(n.LateReplies+n.DuplicateReplies+n.ForeignReplies+n.UndecodableReplies))
	})
}

// A reply must not be lost because it comes before the reader is at the end of its
// new topic.
func TestNoReplyIsLostAtStartUp(t *testing.T) {
	everywhere(t, func(w *world) {
		clients := 50
		if w.bus.Capabilities().Name == "memory" {
			clients = 1000
		}
		topic := w.topic("calc", 4)
		s := w.server()
		handle(w, s, "double", double)
		w.start(s, topic)
		var all sync.WaitGroup
		errs := make([]error, clients)
		for i := range clients {
			all.Go(func() {
				c, err := rpc.NewClient(w.bus)
				if err == nil {
					var got *number
					if got, err = rpc.Call[number](w.ctx, c, topic, "double", &number{i}); err == nil && got.N != 2*i {
						err = fmt.Errorf("client %d got %d", i, got.N)
					}
					err = errors.Join(err, c.Close())
				}
				errs[i] = err
			})
		}
		all.Wait()
		require.NoError(w, errors.Join(errs...))
	})
}

func TestCallsLeaveNothingBehind(t *testing.T) {
	everywhere(t, func(w *world) {
		calls := 1000
		if w.bus.Capabilities().Name == "memory" {
			calls = 10_000
		}
		topic := w.topic("calc", 4)
		s := w.server()
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()
		var all sync.WaitGroup
		for g := range 20 {
			all.Go(func() {
				for i := range calls / 20 {
					if _, err := rpc.Call[number](w.ctx, c, topic, "double", &number{i}, rpc.Key(fmt.Sprint(g))); err != nil {
						w.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		require.Zero(w, c.Stats().Pending)
		w.eventually("nothing in flight", func() bool { return s.Stats().InFlight == 0 })
		// goleak looks for goroutines when all tests are done.
	})
}

func TestCodecs(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("echo", 1)
	s := w.server()
	handle(w, s, "proto", func(_ context.Context, v *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		return wrapperspb.String(v.GetValue() + "!"), nil
	})
	handle(w, s, "raw", func(_ context.Context, v *[]byte) (*[]byte, error) { return v, nil })
	handle(w, s, "length", func(_ context.Context, v *[]byte) (*number, error) { return &number{len(*v)}, nil })
	w.start(s, topic)
	c := w.client()

	got, err := rpc.Call[wrapperspb.StringValue](w.ctx, c, topic, "proto", wrapperspb.String("a"))
	require.NoError(t, err)
	require.Equal(t, "a!", got.GetValue())
	got, err = rpc.Call[wrapperspb.StringValue](w.ctx, c, topic, "proto", wrapperspb.String("b"), rpc.WithCodec(rpc.JSON))
	require.NoError(t, err)
	require.Equal(t, "b!", got.GetValue())
	raw, err := rpc.Call[[]byte](w.ctx, c, topic, "raw", []byte("bytes"))
	require.NoError(t, err)
	require.Equal(t, "bytes", string(*raw))
	n, err := rpc.Call[number](w.ctx, c, topic, "length", []byte("four"))
	require.NoError(t, err)
	require.Equal(t, 4, n.N)

	resp, err := c.Invoke(w.ctx, &rpc.Request{Topic: topic, Method: "proto", ContentType: "application/json", Body: []byte(`"c"`)})
	require.NoError(t, err)
	require.Equal(t, "application/json", resp.ContentType)
	require.Equal(t, `"c!"`, string(resp.Body))
	_, err = c.Invoke(w.ctx, &rpc.Request{Topic: topic, Method: "proto", ContentType: "text/x-nobody-knows"})
	requireError(t, err, codes.InvalidArgument, true)
	_, err = rpc.Call[number](w.ctx, c, topic, "proto", make(chan int))
	requireError(t, err, codes.InvalidArgument, false)
}

func requireError(t testing.TB, err error, code codes.Code, remote bool) *rpc.Error {
	t.Helper()
	require.Error(t, err)
	e, ok := errors.AsType[*rpc.Error](err)
	require.True(t, ok, "%T", err)
	require.Equal(t, code, e.Code(), err.Error())
	require.Equal(t, remote, e.Remote(), err.Error())
	require.Equal(t, code, status.Code(err))
	return e
}

func TestErrorsTravel(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("faults", 1)
		s := w.server()
		detailed, err := status.New(codes.FailedPrecondition, "not now").WithDetails(&errdetails.ErrorInfo{Reason: "OFF"})
		require.NoError(w, err)
		for method, err := range map[string]error{
			"plain":    errors.New("plain text"),
			"detailed": detailed.Err(),
			"wrapped":  fmt.Errorf("on port 3: %w", status.Error(codes.NotFound, "no such port")),
			"ours":     rpc.NewError(codes.Aborted, errors.New("conflict")),
			"context":  fmt.Errorf("asking the device: %w", context.DeadlineExceeded),
			"long":     errors.New(strings.Repeat("ä", 20_000)),
		} {
			handle(w, s, method, func(context.Context, *number) (*number, error) { return nil, err })
		}
		handle(w, s, "nothing", func(context.Context, *number) (*number, error) { return nil, nil })
		handle(w, s, "panic", func(context.Context, *number) (*number, error) { panic("secret: " + "stack") })
		w.start(s, topic)
		c := w.client()
		call := func(method string) error {
			_, err := rpc.Call[number](w.ctx, c, topic, method, &number{})
			return err
		}
		require.Equal(w, "plain text", requireError(w, call("plain"), codes.Unknown, true).Message())
		e := requireError(w, call("detailed"), codes.FailedPrecondition, true)
		require.Len(w, e.Details(), 1)
		require.Equal(w, "OFF", e.Details()[0].(*errdetails.ErrorInfo).GetReason())
		require.Contains(w, requireError(w, call("wrapped"), codes.NotFound, true).Message(), "on port 3")
		require.True(w, requireError(w, call("ours"), codes.Aborted, true).Retryable())
		e = requireError(w, call("context"), codes.DeadlineExceeded, true)
		require.NotErrorIs(w, e, context.DeadlineExceeded, "the deadline was the handler's, not ours")
		require.Len(w, requireError(w, call("long"), codes.Unknown, true).Message(), 16<<10)
		requireError(w, call("nothing"), codes.Internal, true)
		e = requireError(w, call("nobody"), codes.Unimplemented, true)
		require.Contains(w, e.Error(), `nobody on faults: Unimplemented: method "nobody"`)
		e = requireError(w, call("panic"), codes.Internal, true)
		require.NotContains(w, e.Error(), "secret")
		require.Contains(w, w.log.last(), "secret")
		require.Contains(w, w.log.last(), "call_test.go")
		n := s.Stats()
		require.EqualValues(w, 1, n.Panics)
		require.EqualValues(w, 1, n.UnknownMethods)
		require.EqualValues(w, 8, n.Failed)
	})
}

func TestCallInfoTravels(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("info", 1)
		s := w.server()
		infos := make(chan *rpc.CallInfo, 1)
		deadlines := make(chan time.Time, 1)
		handle(w, s, "show", func(ctx context.Context, n *number) (*number, error) {
			info, _ := rpc.FromContext(ctx)
			infos <- info
			d, _ := ctx.Deadline()
			deadlines <- d
			return n, nil
		})
		w.start(s, topic)
		c := w.client(rpc.Name("shell"), rpc.CallDefaults(rpc.Header("tenant", "a"), rpc.Header("trace", "1")))
		ctx, cancel := context.WithTimeout(w.ctx, 31*time.Second)
		defer cancel()
		want, _ := ctx.Deadline()
		_, err := rpc.Call[number](ctx, c, topic, "show", &number{}, rpc.Key("dev-1"), rpc.Header("trace", "2"))
		require.NoError(w, err)
		info := <-infos
		require.Equal(w, "show", info.Method)
		require.Equal(w, topic, info.Topic)
		require.Equal(w, "dev-1", info.Key)
		require.Equal(w, c.ID(), info.Caller)
		require.True(w, strings.HasPrefix(c.ID(), "shell."))
		require.Equal(w, 1, info.Attempt)
		require.Equal(w, "a", info.Metadata["tenant"])
		require.Equal(w, "2", info.Metadata["trace"])
		require.True(w, want.Equal(info.Deadline), "%v, %v", want, info.Deadline)
		require.True(w, want.Equal(<-deadlines))
		_, ok := rpc.FromContext(w.ctx)
		require.False(w, ok)
	})
}

func TestReservedMetadataIsRefused(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	_, err := rpc.Call[number](w.ctx, w.client(), w.topic("t", 1), "m", 1, rpc.Header("trunkline-rpc-id", "forged"))
	requireError(t, err, codes.InvalidArgument, false)
}

func TestCallToATopicThatDoesNotExist(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	_, err := rpc.Call[number](w.ctx, w.client(), "nowhere", "m", &number{})
	e := requireError(t, err, codes.Unimplemented, false)
	require.Equal(t, bus.NotFound, bus.CodeOf(err))
	require.False(t, e.Retryable())
}

func TestCallThatIsTooLarge(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("big", 1)
		s := w.server()
		handle(w, s, "grow", func(_ context.Context, n *number) (*[]byte, error) { b := make([]byte, n.N); return &b, nil })
		w.start(s, topic)
		c := w.client()
		_, err := rpc.Call[number](w.ctx, c, topic, "grow", make([]byte, 2_000_000))
		require.False(w, requireError(w, err, codes.ResourceExhausted, false).Retryable())
		_, err = rpc.Call[[]byte](w.ctx, c, topic, "grow", &number{2_000_000})
		requireError(w, err, codes.ResourceExhausted, true)
	})
}

func TestMaxPending(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("slow", 1)
	c := w.client(rpc.MaxPending(1))
	ctx, cancel := context.WithCancel(w.ctx)
	first := make(chan error, 1)
	go func() { _, err := rpc.Call[number](ctx, c, topic, "m", &number{}); first <- err }()
	w.eventually("one call waits", func() bool { return c.Stats().Pending == 1 })
	_, err := rpc.Call[number](w.ctx, c, topic, "m", &number{})
	require.True(t, requireError(t, err, codes.ResourceExhausted, false).Retryable())
	cancel()
	requireError(t, <-first, codes.Canceled, false)
	require.Zero(t, c.Stats().Pending)
}

func TestInterceptors(t *testing.T) {
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
		require.Equal(t, "s2", ctx.Value(markKey("s2")))
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

func TestOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	for _, o := range []rpc.ClientOption{
		rpc.Name(""), rpc.Name("a b"), rpc.DefaultTimeout(0), rpc.MaxPending(0), rpc.WithWire(nil), rpc.WithLogger(nil),
		rpc.WithInterceptors(nil), rpc.WithCodecs(nil), rpc.ReplyTopic(bus.TopicSpec{Name: "x"}), rpc.CallDefaults(rpc.Timeout(-1)),
	} {
		_, err := rpc.NewClient(w.bus, o)
		requireError(t, err, codes.InvalidArgument, false)
	}
	for _, o := range []rpc.ServerOption{
		rpc.Group(""), rpc.Concurrency(0), rpc.Window(0), rpc.ReplayCache(-1, 0), rpc.ClockSkew(-1), rpc.DeadLetterTopic(""), rpc.ReplyTopics(nil),
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

func TestRegistration(t *testing.T) {
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
		_, again := s.Start(w.ctx, topic)
		require.ErrorIs(t, again, err, "Start tells what a registration failed with")
	}
	requireError(t, w.server().Ready(w.ctx), codes.FailedPrecondition, false)
}

func TestRetries(t *testing.T) {
	everywhere(t, func(w *world) {
		topic := w.topic("flaky", 1)
		s := w.server()
		var runs atomic.Int64
		handle(w, s, "third", func(ctx context.Context, _ *number) (*number, error) {
			if n := runs.Add(1); n < 3 {
				return nil, status.Error(codes.Unavailable, "warming up")
			}
			info, _ := rpc.FromContext(ctx)
			return &number{info.Attempt}, nil
		})
		handle(w, s, "never", func(context.Context, *number) (*number, error) {
			return nil, status.Error(codes.Unavailable, "no")
		})
		w.start(s, topic)
		c := w.client()
		var seen []rpc.RetryEvent
		retry := rpc.Retry(rpc.RetryPolicy{Max: 5, MinBackoff: time.Millisecond, OnRetry: func(e rpc.RetryEvent) { seen = append(seen, e) }})
		got, err := rpc.Call[number](w.ctx, c, topic, "third", &number{}, retry)
		require.NoError(w, err)
		require.Equal(w, 3, got.N)
		require.Len(w, seen, 2)
		require.Equal(w, 2, seen[1].Attempt)
		require.Equal(w, codes.Unavailable, seen[1].Err.Code())
		require.EqualValues(w, 2, c.Stats().Retries)

		_, err = rpc.Call[number](w.ctx, c, topic, "never", &number{})
		requireError(w, err, codes.Unavailable, true)
		_, err = rpc.Call[number](w.ctx, c, topic, "never", &number{}, rpc.Retry(rpc.RetryPolicy{Max: 2, MinBackoff: time.Millisecond}))
		requireError(w, err, codes.Unavailable, true)
		_, err = rpc.Call[number](w.ctx, c, topic, "never", &number{}, rpc.Retry(rpc.RetryPolicy{Max: 2, Codes: []codes.Code{codes.Aborted}}))
		requireError(w, err, codes.Unavailable, true)
		// A pause that would outlast the deadline is not begun.
		_, err = rpc.Call[number](w.ctx, c, topic, "never", &number{}, rpc.Timeout(time.Minute), rpc.Retry(rpc.RetryPolicy{Max: 2, MinBackoff: time.Hour}))
		requireError(w, err, codes.Unavailable, true)
		require.EqualValues(w, 4, c.Stats().Retries)
		resp, err := c.Invoke(w.ctx, &rpc.Request{Topic: topic, Method: "third"}, retry)
		requireError(w, err, codes.InvalidArgument, true) // no JSON
		require.Nil(w, resp)
	})
}
