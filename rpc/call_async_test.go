package rpc_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/frame"
)

func TestAsyncCallsOfAKeyAreSentInOrder(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("calc", 4)
		s := w.server()
		ran := make(chan int, 200)
		handle(w, s, "double", func(ctx context.Context, n *number) (*number, error) { ran <- n.N; return double(ctx, n) })
		w.start(s, topic)
		c := w.client()
		calls := make([]*rpc.AsyncCall[number], cap(ran))
		for i := range calls {
			calls[i] = rpc.CallAsync[number](w.ctx, c, topic, "double", &number{i}, rpc.Key("one"))
		}
		for i, a := range calls {
			require.NoError(w, a.Sent(w.ctx))
			got, err := a.Reply(w.ctx)
			require.NoError(w, err)
			require.Equal(w, 2*i, got.N)
			receive(w, a.Done())
			again, err := a.Reply(w.ctx)
			require.NoError(w, err)
			require.Same(w, got, again)
			a.Cancel() // has no effect, because the call has ended
			n := receive(w, ran)
			if w.bus.Capabilities().Ordered {
				require.Equal(w, i, n)
			}
		}
	})
}

func TestSentReturnsWhenTheLogHasTheRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Pointer[driver.Outgoing]
		w := tappedMemory(t, func(o *driver.Outgoing) bool {
			if o.Topic != "manual" {
				return false
			}
			kept := *o
			held.Store(&kept)
			return true
		})
		topic := w.topic("manual", 1)
		c := w.client(rpc.WithWaitForServer())
		short := func() context.Context {
			ctx, cancel := context.WithTimeout(w.ctx, time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		answer := func() { w.publish(c.ReplyTopic(), reply(frameOf(t, held.Load()), `{"N":1}`)) }

		// The outcome first, then the reply.
		a := rpc.CallAsync[number](w.ctx, c, topic, "m", &number{})
		requireError(t, a.Sent(short()), codes.DeadlineExceeded, false)
		held.Load().Complete(driver.Outcome{Partition: 0, Offset: 7})
		require.NoError(t, a.Sent(w.ctx))
		_, err := a.Reply(short())
		requireError(t, err, codes.DeadlineExceeded, false)
		answer()
		_, err = a.Reply(w.ctx)
		require.NoError(t, err)

		// The reply overtakes the outcome.
		a = rpc.CallAsync[number](w.ctx, c, topic, "m", &number{})
		answer()
		require.NoError(t, a.Sent(w.ctx))
		held.Load().Complete(driver.Failed(&bus.Error{Code: bus.CodeUnavailable}))

		// It was not sent.
		a = rpc.CallAsync[number](w.ctx, c, topic, "m", &number{})
		held.Load().Complete(driver.Failed(&bus.Error{Code: bus.CodeUnavailable}))
		requireError(t, a.Sent(w.ctx), codes.Unavailable, false)
		_, err = a.Reply(w.ctx)
		requireError(t, err, codes.Unavailable, false)

		// The outcome is unknown, and no reply arrives.
		a = rpc.CallAsync[number](w.ctx, c, topic, "m", &number{}, rpc.Timeout(20*time.Second))
		held.Load().Complete(driver.Failed(&bus.Error{Code: bus.CodeOutcomeUnknown}))
		requireError(t, a.Sent(short()), codes.DeadlineExceeded, false)
		select {
		case <-a.Done():
			t.Fatal("the call does not wait for a reply that may arrive")
		default:
		}
		begun := time.Now()
		requireError(t, a.Sent(w.ctx), codes.DeadlineExceeded, false)
		require.Equal(t, 19*time.Second, time.Since(begun))
	})
}

func frameOf(t testing.TB, o *driver.Outgoing) frame.Frame {
	t.Helper()
	var f frame.Frame
	require.NoError(t, frame.HeaderWire{}.Decode(&bus.Record{Key: o.Key, Headers: o.Headers, Payload: o.Payload}, &f))
	return f
}

func TestAsyncCallReturnsWhyItCannotBeMade(t *testing.T) {
	t.Parallel()
	w := inMemory(t)
	c := w.client()
	topic := w.topic("calc", 1)
	for name, a := range map[string]*rpc.AsyncCall[number]{
		"request": rpc.CallAsync[number](w.ctx, c, topic, "m", make(chan int)),
		"option":  rpc.CallAsync[number](w.ctx, c, topic, "m", 1, rpc.Timeout(-1)),
	} {
		_, err := a.Reply(w.ctx)
		requireError(t, err, codes.InvalidArgument, false)
		requireError(t, a.Sent(w.ctx), codes.InvalidArgument, false)
		a.Cancel()
		receive(w, a.Done())
		require.ErrorContains(t, err, "m on calc", name)
	}
	require.NoError(t, c.Close())
	a := rpc.CallAsync[number](w.ctx, c, topic, "m", 1)
	requireError(t, a.Sent(w.ctx), codes.Unavailable, false)
}

func TestCloseEndsAsyncCalls(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("manual", 1)
		w.capture(topic)
		c := w.client()
		var calls []*rpc.AsyncCall[number]
		for range 50 {
			calls = append(calls, rpc.CallAsync[number](w.ctx, c, topic, "m", &number{}))
		}
		require.NoError(w, c.Close())
		for _, a := range calls {
			select {
			case <-a.Done():
			default:
				w.Fatal("a call has not ended")
			}
			_, err := a.Reply(w.ctx)
			requireError(w, err, codes.Unavailable, false)
		}
	})
}

func TestSendReturnsWhenTheLogHasTheRequest(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("log", 2)
		s := w.server()
		got := make(chan string, 10)
		handle(w, s, "note", func(ctx context.Context, n *number) (*number, error) {
			info, _ := rpc.FromContext(ctx)
			got <- fmt.Sprint(n.N, info.Key, info.Metadata["h"])
			return nil, fmt.Errorf("not sent to the caller")
		})
		w.start(s, topic)
		c := w.client()
		require.NoError(w, rpc.Send(w.ctx, c, topic, "note", &number{3}, rpc.Key("k"), rpc.Header("h", "v")))
		require.Equal(w, "3kv", receive(w, got))
		w.eventually("the handler has ended", func() bool { return s.Stats().Handled == 1 && s.Stats().InFlight == 0 })
		require.Equal(w, rpc.ClientStats{Calls: 1}, c.Stats())
	})
}

func TestSendReturnsTheOutcome(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		bus  bus.Code
		want codes.Code
	}{{bus.CodeUnavailable, codes.Unavailable}, {bus.CodeOutcomeUnknown, codes.Unknown}, {bus.CodeTooLarge, codes.ResourceExhausted}, {bus.CodeNotFound, codes.Unimplemented}} {
		t.Run(tt.bus.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tries atomic.Int64
				w := tappedMemory(t, func(o *driver.Outgoing) bool {
					if o.Topic != "log" {
						return false
					}
					if tries.Add(1) == 3 {
						o.Complete(driver.Outcome{})
						return true
					}
					o.Complete(driver.Failed(&bus.Error{Code: tt.bus, Op: "publish"}))
					return true
				})
				topic, c := w.topic("log", 1), w.client()
				err := rpc.Send(w.ctx, c, topic, "m", 1)
				requireError(t, err, tt.want, false)
				require.Equal(t, tt.bus, bus.CodeOf(err))
				err = rpc.Send(w.ctx, c, topic, "m", 1, rpc.Retry(rpc.RetryPolicy{Max: 1}))
				if tt.want == codes.Unavailable {
					require.NoError(t, err, "the third attempt succeeds")
				} else {
					requireError(t, err, tt.want, false)
				}
				require.Empty(t, c.Pending())
			})
		})
	}
}

func TestReplyDoesNotEndAOneWayCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Pointer[driver.Outgoing]
		w := tappedMemory(t, func(o *driver.Outgoing) bool {
			if o.Topic != "log" {
				return false
			}
			kept := *o
			held.Store(&kept)
			return true
		})
		topic, c := w.topic("log", 1), w.client()
		require.NoError(t, c.Ready(w.ctx))
		sent := make(chan error, 1)
		go func() { sent <- rpc.Send(w.ctx, c, topic, "m", 1) }()
		synctest.Wait()
		f := frameOf(t, held.Load())
		require.Empty(t, f.ReplyTo)
		w.publish(c.ReplyTopic(), reply(f, `{}`))
		synctest.Wait()
		require.Len(t, c.Pending(), 1)
		require.EqualValues(t, 1, c.Stats().DuplicateReplies)
		held.Load().Complete(driver.Outcome{})
		require.NoError(t, <-sent)
	})
}

func TestSendWithoutOutcomeEndsAtItsTimeoutAndWithItsClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held []*driver.Outgoing
		w := tappedMemory(t, func(o *driver.Outgoing) bool {
			if o.Topic != "log" {
				return false
			}
			kept := *o
			held = append(held, &kept)
			return true
		})
		topic, c := w.topic("log", 1), w.client()
		begun := time.Now()
		requireError(t, rpc.Send(w.ctx, c, topic, "m", 1, rpc.Timeout(3*time.Second)), codes.DeadlineExceeded, false)
		require.Equal(t, 3*time.Second, time.Since(begun))
		sent := make(chan error, 1)
		go func() { sent <- rpc.Send(w.ctx, c, topic, "m", 1) }()
		synctest.Wait()
		require.True(t, c.Pending()[0].OneWay)
		require.NoError(t, c.Close())
		requireError(t, <-sent, codes.Unavailable, false)
		for _, o := range held {
			o.Complete(driver.Outcome{}) // b.Close waits for the outcome
		}
	})
}
