package rpc_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestCallWithoutServerEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("deserted", 1)
		c := w.client(rpc.WithWaitForServer())
		for name, opts := range map[string][]rpc.CallOption{"default": nil, "option": {rpc.Timeout(30 * time.Second)}} {
			begun := time.Now()
			_, err := rpc.Call[number](context.Background(), c, topic, "m", &number{}, opts...)
			requireError(t, err, codes.DeadlineExceeded, false)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, 30*time.Second, time.Since(begun), name)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		_, err := rpc.Call[number](ctx, c, topic, "m", &number{}, rpc.Timeout(time.Hour))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(begun))
		require.Zero(t, c.Stats().Pending)
	})
}

func TestDefaultTimeoutAppliesOnlyWithoutDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic, c := w.topic("deserted", 1), w.client(rpc.WithWaitForServer(), rpc.WithDefaultTimeout(time.Second))
		begun := time.Now()
		_, err := rpc.Call[number](context.Background(), c, topic, "m", &number{})
		requireError(t, err, codes.DeadlineExceeded, false)
		require.Equal(t, time.Second, time.Since(begun))
		begun = time.Now()
		longer, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err = rpc.Call[number](longer, c, topic, "m", &number{})
		requireError(t, err, codes.DeadlineExceeded, false)
		require.Equal(t, 5*time.Second, time.Since(begun))
	})
}

// An error that every attempt would repeat is not retried, regardless of its code.
func TestPermanentErrorIsNotRetried(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	c := w.client(rpc.WithWaitForServer())
	retry := rpc.Retry(rpc.RetryPolicy{Max: 3, MinBackoff: time.Millisecond, Codes: []codes.Code{codes.ResourceExhausted}})
	_, err := rpc.Call[number](w.ctx, c, w.topic("big", 1), "m", make([]byte, 2_000_000), retry)
	requireError(t, err, codes.ResourceExhausted, false)
	require.Zero(t, c.Stats().Retries)
}

// A deadline beyond the range of time is sent as no deadline.
func TestVeryLongTimeoutIsAllowed(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("calc", 1)
	s := w.server()
	handle(w, s, "double", double)
	w.start(s, topic)
	got, err := rpc.Call[number](w.ctx, w.client(), topic, "double", &number{1}, rpc.Timeout(math.MaxInt64))
	require.NoError(t, err)
	require.Equal(t, 2, got.N)
	forever, cancel := context.WithTimeout(context.Background(), math.MaxInt64)
	defer cancel()
	_, err = rpc.Call[number](forever, w.client(), topic, "double", &number{1})
	require.NoError(t, err)
}

func TestFailedPublishEndsTheCallWithItsCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		bus  bus.Code
		want codes.Code
	}{
		{bus.CodeUnavailable, codes.Unavailable}, {bus.CodeTooLarge, codes.ResourceExhausted}, {bus.CodeResourceExhausted, codes.ResourceExhausted},
		{bus.CodeClosed, codes.Unavailable}, {bus.CodeNotFound, codes.Unimplemented}, {bus.CodeUnsupported, codes.Unimplemented},
		{bus.CodeInvalidArgument, codes.InvalidArgument}, {bus.CodePermissionDenied, codes.PermissionDenied},
		{bus.CodeUnauthenticated, codes.Unauthenticated}, {bus.CodeInternal, codes.Internal}, {bus.CodeUnknown, codes.Unknown},
		{bus.CodeDeadlineExceeded, codes.DeadlineExceeded}, {bus.CodeCanceled, codes.Canceled},
	} {
		t.Run(tt.bus.String(), func(t *testing.T) {
			t.Parallel()
			w := tappedMemory(t, func(o *driver.Outgoing) bool {
				o.Complete(driver.Failed(&bus.Error{Code: tt.bus, Op: "publish", Reason: "injected"}))
				return true
			})
			c := w.client()
			_, err := rpc.Call[number](w.ctx, c, "t", "m", 1)
			requireError(t, err, tt.want, false)
			require.Equal(t, tt.bus, bus.CodeOf(err))
			require.Zero(t, c.Stats().Pending)
		})
	}
}

func TestCallsWaitForAnUnavailableBroker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, err := memory.NewLog()
		require.NoError(t, err)
		w := newFixture(t, onMemoryLog(t, log))
		topic := w.topic("calc", 1)
		s := w.server()
		handle(w, s, "double", double)
		w.start(s, topic)

		tr, err := memory.New(memory.WithLog(log))
		require.NoError(t, err)
		tr.Disconnect(errors.New("pulled"))
		b, err := bus.New(tr)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		c, err := rpc.NewClient(b)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		defer cancel()
		_, err = rpc.Call[number](ctx, c, topic, "double", &number{1})
		requireError(t, err, codes.DeadlineExceeded, false)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "pulled")

		r := w.call(w.ctx, c, topic, "double")
		synctest.Wait()
		tr.Connect()
		require.NoError(t, (<-r).err)
	})
}

func TestCallToAMissingTopicIsUnimplemented(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	_, err := rpc.Call[number](w.ctx, w.client(), "nowhere", "m", &number{})
	e := requireError(t, err, codes.Unimplemented, false)
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(err))
	require.False(t, e.Retryable())
}

func TestMessagesThatAreTooLargeFailTheCall(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
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

func TestMaxPendingBoundsTheCalls(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	topic := w.topic("slow", 1)
	c := w.client(rpc.WithMaxPending(1), rpc.WithWaitForServer())
	ctx, cancel := context.WithCancel(w.ctx)
	first := make(chan error, 1)
	go func() { _, err := rpc.Call[number](ctx, c, topic, "m", &number{}); first <- err }()
	w.eventually("one call waits", func() bool { return c.Stats().Pending == 1 })
	_, err := rpc.Call[number](w.ctx, c, topic, "m", &number{})
	require.True(t, requireError(t, err, codes.ResourceExhausted, false).Retryable())
	cancel()
	requireError(t, receive(w, first), codes.Canceled, false)
	require.Zero(t, c.Stats().Pending)
}

func TestRetryRepeatsFailedCalls(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
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
		// There is no attempt if the pause would end after the deadline.
		_, err = rpc.Call[number](w.ctx, c, topic, "never", &number{}, rpc.Timeout(time.Minute), rpc.Retry(rpc.RetryPolicy{Max: 2, MinBackoff: time.Hour}))
		requireError(w, err, codes.Unavailable, true)
		require.EqualValues(w, 4, c.Stats().Retries)
		resp, err := c.Invoke(w.ctx, &rpc.Request{Topic: topic, Method: "third"}, retry)
		requireError(w, err, codes.InvalidArgument, true) // the body is not JSON
		require.Nil(w, resp)
	})
}
