package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/rpc"
)

func TestCallReturnsTheResponse(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 4)
		s := w.server()
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()
		got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{21})
		require.NoError(w, err)
		require.Equal(w, 42, got.N)
		n := c.Stats()
		n.OutcomeUnknown = 0 // if the reply arrives first, the call ends before the outcome is known
		require.Equal(w, rpc.ClientStats{Calls: 1}, n)
		require.EqualValues(w, 1, s.Stats().Handled)
	})
}

func TestEveryCallReturnsItsOwnResponse(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
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

// A reply may arrive before the reader has reached the end of its new topic.
func TestNoReplyIsLostAtStartUp(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
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

func TestCallsLeaveNoPendingCallsOrGoroutines(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
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
		w.eventually("no request is in flight", func() bool { return s.Stats().InFlight == 0 })
		// TestMain checks for leaked goroutines.
	})
}

func TestBothSidesUseTheCodecOfTheRequest(t *testing.T) {
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
	got, err = rpc.Call[wrapperspb.StringValue](w.ctx, c, topic, "proto", wrapperspb.String("b"), rpc.Codec(codec.JSON))
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

func TestErrorsKeepStatusAndDetails(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
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
		require.Contains(w, e.Error(), "nobody on "+topic+`: Unimplemented: method "nobody"`)
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

func TestFromContextReturnsTheCall(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
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
		c := w.client(rpc.WithName("shell"), rpc.WithCallDefaults(rpc.Header("tenant", "a"), rpc.Header("trace", "1")))
		ctx, cancel := context.WithTimeout(w.ctx, 31*time.Second)
		defer cancel()
		want, _ := ctx.Deadline()
		_, err := rpc.Call[number](ctx, c, topic, "show", &number{}, rpc.Key("dev-1"), rpc.Header("trace", "2"))
		require.NoError(w, err)
		info := receive(w, infos)
		require.Equal(w, "show", info.Method)
		require.Equal(w, topic, info.Topic)
		require.Equal(w, "dev-1", info.Key)
		require.Equal(w, c.ID(), info.Caller)
		require.True(w, strings.HasPrefix(c.ID(), "shell."))
		require.Equal(w, 1, info.Attempt)
		require.Equal(w, "a", info.Metadata["tenant"])
		require.Equal(w, "2", info.Metadata["trace"])
		require.True(w, want.Equal(info.Deadline), "%v, %v", want, info.Deadline)
		require.True(w, want.Equal(receive(w, deadlines)))
		_, ok := rpc.FromContext(w.ctx)
		require.False(w, ok)
	})
}

func TestReservedMetadataFailsTheCall(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	_, err := rpc.Call[number](w.ctx, w.client(), w.topic("t", 1), "m", 1, rpc.Header("trunkline-rpc-id", "forged"))
	requireError(t, err, codes.InvalidArgument, false)
}
