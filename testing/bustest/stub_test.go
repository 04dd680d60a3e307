package bustest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/testing/bustest"
)

type quoteRequest struct{ Item string }

type quote struct{ Cents int }

func client(t testing.TB, k *bustest.Kit) *rpc.Client {
	c, err := rpc.NewClient(k.Bus())
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the kit's cleanup reports what is not closed
	return c
}

func TestStubRepliesAndRecordsCalls(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithGoroutineCheck())
	prices := k.Stub("prices",
		bustest.Method("Quote").Returns(&quote{Cents: 1200}),
		bustest.Method("Close").Fails(status.Error(codes.Unavailable, "not yet")),
		bustest.Method("Close").Returns(wrapperspb.String("closed")),
		bustest.Method("Echo").Runs(func(_ context.Context, c bustest.Call) (any, error) { return c.Payload, nil }),
		bustest.Method("Broken").Returns(func() {}))
	c := client(t, k)
	ctx := t.Context()
	for range 2 {
		got, err := rpc.Call[quote](ctx, c, "prices", "Quote", &quoteRequest{"tea"}, rpc.Key("k"), rpc.Header("user", "me"))
		require.NoError(t, err)
		require.Equal(t, &quote{1200}, got)
	}
	_, err := rpc.Call[wrapperspb.StringValue](ctx, c, "prices", "Close", wrapperspb.String("now"))
	require.Equal(t, codes.Unavailable, rpc.CodeOf(err))
	for range 2 {
		closed, err := rpc.Call[wrapperspb.StringValue](ctx, c, "prices", "Close", wrapperspb.String("now"))
		require.NoError(t, err)
		require.Equal(t, "closed", closed.Value)
	}
	echoed, err := rpc.Call[[]byte](ctx, c, "prices", "Echo", []byte("hello"))
	require.NoError(t, err)
	require.Equal(t, "hello", string(*echoed))
	_, err = rpc.Call[quote](ctx, c, "prices", "Broken", &quoteRequest{})
	require.Equal(t, codes.Internal, rpc.CodeOf(err))
	_, err = rpc.Call[quote](ctx, c, "prices", "Unknown", &quoteRequest{})
	require.Equal(t, codes.Unimplemented, rpc.CodeOf(err))

	call := prices.Expect("Quote", bustest.Key("k"), bustest.JSON(quoteRequest{"tea"}), bustest.Header("user", "me"))
	var request quoteRequest
	require.NoError(t, call.Decode(&request))
	require.Equal(t, quoteRequest{"tea"}, request)
	require.Equal(t, c.ID(), call.Caller)
	require.Equal(t, 1, call.Attempt)
	require.False(t, call.Deadline.IsZero())
	prices.Expect("", bustest.JSON(quoteRequest{"tea"}))
	prices.ExpectNone("Quote")
	var when wrapperspb.StringValue
	require.NoError(t, prices.Expect("Close", bustest.Proto(wrapperspb.String("now"))).Decode(&when))
	require.Equal(t, "now", when.Value)
	require.Len(t, prices.Calls("Close"), 3)
	require.Len(t, prices.Calls(""), 7)
	require.Error(t, bustest.Call{ContentType: "text/html"}.Decode(&when))

	prices.SetReplies(bustest.Method("Quote").Fails(errors.New("sold out")))
	_, err = rpc.Call[quote](ctx, c, "prices", "Quote", &quoteRequest{"tea"})
	require.Equal(t, codes.Unknown, rpc.CodeOf(err))
}

// Inside testing/synctest the delay takes no real time.
func TestStubDelaysReplies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := bustest.New(t)
		k.Stub("prices", bustest.Method("Quote").Returns(&quote{1}).After(time.Minute), bustest.Method("Quote").Returns(&quote{2}).After(time.Hour))
		c := client(t, k)
		begin := k.Now()
		got, err := rpc.Call[quote](t.Context(), c, "prices", "Quote", &quoteRequest{}, rpc.Timeout(2*time.Minute))
		require.NoError(t, err)
		require.Equal(t, 1, got.Cents)
		require.Equal(t, time.Minute, k.Now().Sub(begin))
		_, err = rpc.Call[quote](t.Context(), c, "prices", "Quote", &quoteRequest{}, rpc.Timeout(time.Minute))
		require.Equal(t, codes.DeadlineExceeded, rpc.CodeOf(err))
		require.Equal(t, 2*time.Minute, k.Now().Sub(begin))
	})
}

func TestFailuresOfStubs(t *testing.T) {
	t.Parallel()
	scene := func(t testing.TB) (*bustest.Stub, *rpc.Client) {
		k := bustest.New(t)
		return k.Stub("prices", bustest.Method("Quote").Returns(&quote{}), bustest.Method("Close").Returns(&quote{})), client(t, k)
	}
	require.Equal(t, "bustest: no call of Quote on \"prices\" within 10s\nthere were no calls", runInBubble(t, func(t testing.TB) {
		s, _ := scene(t)
		s.Expect("Quote")
	}))
	called := func(t testing.TB) *bustest.Stub {
		s, c := scene(t)
		for _, item := range []string{"tea", "milk"} {
			if _, err := rpc.Call[quote](context.Background(), c, "prices", "Quote", &quoteRequest{item}, rpc.Key(item)); err != nil {
				t.Fatalf("%v", err)
			}
		}
		s.Expect("Quote", bustest.Key("tea"))
		return s
	}
	require.Equal(t, `bustest: no call of Quote on "prices" with key "tea" within 10s
calls (2):
  Quote key "tea" {"Item":"tea"}
    it was expected before
  Quote key "milk" {"Item":"milk"}
    its key is "milk"`, runInBubble(t, func(t testing.TB) { called(t).Expect("Quote", bustest.Key("tea")) }))
	require.Equal(t, `bustest: expected no call of any method on "prices", got 1:
  Quote key "milk" {"Item":"milk"}`, runInBubble(t, func(t testing.TB) { called(t).ExpectNone("") }))
	require.Contains(t, runInBubble(t, func(t testing.TB) { called(t).Expect("Close") }), "\n    it is a call of another method")
	require.Equal(t, `bustest: stub on "prices": it was created without method "Open", only with Close, Quote`, runInBubble(t, func(t testing.TB) {
		s, _ := scene(t)
		s.SetReplies(bustest.Method("Open").Fails(errors.New("no")))
	}))
	require.Contains(t, runInBubble(t, func(t testing.TB) { bustest.New(t).Stub("no spaces", bustest.Method("Quote").Returns(&quote{})) }),
		`bustest: stub on "no spaces": memory: create topic "no spaces"`)
}
