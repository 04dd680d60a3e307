package replay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/lazyctx"
	"github.com/trunkline/trunkline/rpc/internal/replay"
)

func request(id string, attempt int) *frame.Frame {
	return &frame.Frame{Kind: frame.KindRequest, Caller: "c", ID: id, Method: "m", Attempt: attempt}
}

// begin calls Begin for a request on the topic "t".
func begin(t *testing.T, c *replay.Cache, f *frame.Frame) (*replay.Reply, *replay.Entry) {
	t.Helper()
	r, e, err := c.Begin(t.Context(), replay.KeyOf("t", f), f, &lazyctx.Context{Context: t.Context()}, true)
	require.NoError(t, err)
	return r, e
}

// run runs a request that has no reply yet, and stores r as its reply.
func run(t *testing.T, c *replay.Cache, f *frame.Frame, r *replay.Reply) {
	t.Helper()
	replayed, e := begin(t, c, f)
	require.Nil(t, replayed, "the request runs")
	r.Caller, r.ID, r.Attempt = f.Caller, f.ID, f.Attempt
	require.False(t, c.Finish(e, r))
}

func requireKept(t *testing.T, c *replay.Cache, id string, want bool) {
	t.Helper()
	r, e := begin(t, c, request(id, 1))
	require.Equal(t, want, r != nil, id)
	if e != nil {
		c.Abandon(e)
	}
}

func TestLeastRecentlyUsedReplyIsDropped(t *testing.T) {
	t.Parallel()
	c := replay.New(2, 1<<20)
	run(t, c, request("a", 1), &replay.Reply{})
	run(t, c, request("b", 1), &replay.Reply{})
	requireKept(t, c, "a", true) // now b is the least recently used
	run(t, c, request("d", 1), &replay.Reply{})
	requireKept(t, c, "b", false)
	requireKept(t, c, "a", true)
	requireKept(t, c, "d", true)
}

func TestBytesOfRepliesAreBounded(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1000)
	st, err := status.New(codes.Internal, "").WithDetails(&errdetails.ErrorInfo{Reason: large})
	require.NoError(t, err)
	for name, r := range map[string]replay.Reply{
		"body":         {Body: []byte(large)},
		"metadata":     {Metadata: map[string]string{"name": large}},
		"message":      {Status: status.New(codes.Internal, large)},
		"details":      {Status: st},
		"content type": {ContentType: large},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := replay.New(100, 3000) // space for two replies
			for i := range 4 {
				kept := r
				run(t, c, request(fmt.Sprint(i), 1), &kept)
			}
			requireKept(t, c, "0", false)
			requireKept(t, c, "3", true)
			run(t, c, request("huge", 1), &replay.Reply{Body: make([]byte, 4000)})
			requireKept(t, c, "huge", false)
			requireKept(t, c, "3", true)
		})
	}
}

func TestCacheWithoutRepliesKeepsNone(t *testing.T) {
	t.Parallel()
	c := replay.New(0, 1<<20)
	run(t, c, request("a", 1), &replay.Reply{})
	requireKept(t, c, "a", false)
}

func TestErrorAnswersOnlyItsOwnRequest(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		again frame.Frame
		want  bool
	}{
		"same attempt":    {frame.Frame{Caller: "c", ID: "1", Attempt: 2}, true},
		"earlier attempt": {frame.Frame{Caller: "c", ID: "1", Attempt: 1}, true},
		"later attempt":   {frame.Frame{Caller: "c", ID: "1", Attempt: 3}, false},
		"other id":        {frame.Frame{Caller: "c", ID: "2", Attempt: 2}, false},
		"other caller":    {frame.Frame{Caller: "d", ID: "1", Attempt: 2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := replay.New(10, 1<<20)
			first := request("1", 2)
			first.IdempotencyKey, tt.again.IdempotencyKey, tt.again.Method = "k", "k", "m"
			run(t, c, first, &replay.Reply{Status: status.New(codes.Aborted, "no")})
			r, e := begin(t, c, &tt.again)
			require.Equal(t, tt.want, r != nil)
			if e != nil {
				c.Abandon(e)
			}
		})
	}
}

func TestKeysOfDifferentRequestsDiffer(t *testing.T) {
	t.Parallel()
	with := func(topic, method, key string) replay.Key {
		return replay.KeyOf(topic, &frame.Frame{Caller: "c", ID: "1", Method: method, IdempotencyKey: key})
	}
	require.Equal(t, with("t", "m", "k"), replay.KeyOf("t", &frame.Frame{Caller: "d", ID: "2", Method: "m", IdempotencyKey: "k"}))
	require.NotEqual(t, with("t", "m", "k"), with("u", "m", "k"))
	require.NotEqual(t, with("t", "m", "k"), with("t", "n", "k"))
	require.NotEqual(t, with("t", "m", "k"), with("t", "m", "l"))
	require.Equal(t, replay.CallKey(request("1", 1)), with("t", "m", ""))
}

func TestRepeatedRequestWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := replay.New(10, 1<<20)
		_, first := begin(t, c, request("a", 1))
		type got struct {
			reply *replay.Reply
			err   error
		}
		second := make(chan got, 1)
		wait := func(ctx context.Context) {
			r, _, err := c.Begin(ctx, replay.CallKey(request("a", 2)), request("a", 2), &lazyctx.Context{Context: ctx}, false)
			second <- got{r, err}
		}
		ctx, cancel := context.WithCancel(t.Context())
		go wait(ctx)
		synctest.Wait()
		cancel()
		require.ErrorIs(t, (<-second).err, context.Canceled, "the wait ends with its context")

		go wait(t.Context())
		synctest.Wait()
		r := &replay.Reply{Body: []byte("x")}
		c.Finish(first, r)
		require.Same(t, r, (<-second).reply)

		_, other := begin(t, c, request("b", 1))
		go func() {
			r, _, err := c.Begin(t.Context(), replay.CallKey(request("b", 1)), request("b", 1), &lazyctx.Context{Context: t.Context()}, false)
			second <- got{r, err}
		}()
		synctest.Wait()
		c.Abandon(other)
		require.ErrorIs(t, (<-second).err, replay.ErrNotBegun, "Begin returns ErrNotBegun, because mayRun is false")
	})
}

func TestCancelEndsARunningRequestOrPreventsALaterOne(t *testing.T) {
	t.Parallel()
	c := replay.New(10, 1<<20)
	running := &lazyctx.Context{Context: t.Context()}
	f := request("a", 1)
	_, e, err := c.Begin(t.Context(), replay.CallKey(f), f, running, true)
	require.NoError(t, err)
	c.Cancel(replay.CallKey(f))
	require.ErrorIs(t, context.Cause(running), replay.ErrCanceled)
	require.Equal(t, codes.Canceled, status.Code(context.Cause(running)))
	require.ErrorIs(t, context.Cause(running), context.Canceled)
	require.True(t, c.Finish(e, &replay.Reply{}))

	later := request("b", 1)
	c.Cancel(replay.CallKey(later))
	c.Cancel(replay.CallKey(later))
	_, _, err = c.Begin(t.Context(), replay.CallKey(later), later, &lazyctx.Context{Context: t.Context()}, true)
	require.ErrorIs(t, err, replay.ErrCanceled)
}
