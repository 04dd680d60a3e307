package rpc_test

import (
	"context"
	"errors"
	"sync"
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

// Another request with the same key waits behind the one that is canceled. It is canceled
// too, and never runs.
func TestCancelEndsTheHandler(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
		topic := w.topic("slow", 4)
		s := w.server()
		begun, causes := make(chan string, 10), make(chan error, 10)
		handle(w, s, "wait", func(ctx context.Context, _ *number) (*number, error) {
			info, _ := rpc.FromContext(ctx)
			begun <- info.ID
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil, ctx.Err()
		})
		handle(w, s, "double", double)
		w.start(s, topic)
		c := w.client()
		ctx, cancel := context.WithCancel(w.ctx)
		first := rpc.CallAsync[number](ctx, c, topic, "wait", &number{}, rpc.Key("k"))
		receive(w, begun)
		canceled := 1
		if w.bus.Capabilities().Ordered {
			second := rpc.CallAsync[number](w.ctx, c, topic, "wait", &number{}, rpc.Key("k"))
			require.NoError(w, second.Sent(w.ctx))
			second.Cancel()
			_, err := second.Reply(w.ctx)
			requireError(w, err, codes.Canceled, false)
			require.ErrorIs(w, err, context.Canceled)
			w.eventually("the server has the cancel message", func() bool { return s.Stats().CancelMessages == 1 })
			canceled++
		}
		cancel()
		_, err := first.Reply(w.ctx)
		requireError(w, err, codes.Canceled, false)
		require.ErrorIs(w, receive(w, causes), context.Canceled)
		_, err = rpc.Call[number](w.ctx, c, topic, "double", &number{1}, rpc.Key("k"))
		require.NoError(w, err, "the key is free again")
		w.eventually("the canceled requests are counted", func() bool { return int(s.Stats().Canceled) == canceled })
		require.Empty(w, begun, "the second handler does not run")
		require.Zero(w, c.Stats().LateReplies, "the server sends no reply")
	})
}

// A deadline and a closed client need no cancel message. A request with an idempotency key
// gets none, because other callers may wait for it.
func TestCancelMessageIsSentOnlyForCanceledCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var notices atomic.Int64
		w := tappedMemory(t, func(o *driver.Outgoing) bool {
			if kindOf(o) == "1 cancel" {
				notices.Add(1)
			}
			return false
		})
		topic, c := w.topic("deserted", 1), w.client(rpc.WithWaitForServer())
		_, err := rpc.Call[number](w.ctx, c, topic, "m", 1, rpc.Timeout(time.Second))
		requireError(t, err, codes.DeadlineExceeded, false)
		a := rpc.CallAsync[number](w.ctx, c, topic, "m", 1, rpc.IdempotencyKey("i"))
		a.Cancel()
		_, err = a.Reply(w.ctx)
		requireError(t, err, codes.Canceled, false)
		a = rpc.CallAsync[number](w.ctx, c, topic, "m", 1)
		synctest.Wait()
		require.Zero(t, notices.Load())
		b := rpc.CallAsync[number](w.ctx, c, topic, "m", 1)
		b.Cancel()
		synctest.Wait()
		require.EqualValues(t, 1, notices.Load())
		require.NoError(t, c.Close())
		_, err = a.Reply(w.ctx)
		requireError(t, err, codes.Unavailable, false)
		require.EqualValues(t, 1, notices.Load())
		require.EqualValues(t, 1, c.Stats().Cancels)
	})
}

// The cancel message goes to the partition of the request, and has no key. The client sends
// it after the outcome of publishing the request has arrived.
func TestCancelMessageFollowsItsRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var request, message atomic.Pointer[driver.Outgoing]
		w := tappedMemory(t, func(o *driver.Outgoing) bool {
			kept := *o
			switch kindOf(o) {
			case "1 request":
				request.Store(&kept)
				return true
			case "1 cancel":
				message.Store(&kept)
			}
			return false
		})
		topic, c := w.topic("deserted", 4), w.client(rpc.WithWaitForServer())
		a := rpc.CallAsync[number](w.ctx, c, topic, "m", 1, rpc.Key("k"))
		a.Cancel()
		_, err := a.Reply(w.ctx)
		requireError(t, err, codes.Canceled, false)
		synctest.Wait()
		require.Nil(t, message.Load(), "it must not overtake its request")
		id := frameOf(t, request.Load()).ID
		request.Load().Complete(driver.Outcome{Partition: 3, Offset: 9}) // from here on the client may reuse the record
		synctest.Wait()
		require.EqualValues(t, 3, message.Load().Partition)
		require.Empty(t, message.Load().Key)
		f := frameOf(t, message.Load())
		require.Equal(t, frame.KindCancel, f.Kind)
		require.Equal(t, id, f.ID)
		require.Equal(t, c.ID(), f.Caller)

		// A request that was not sent is not canceled.
		message.Store(nil)
		a = rpc.CallAsync[number](w.ctx, c, topic, "m", 1)
		a.Cancel()
		<-a.Done()
		request.Load().Complete(driver.Failed(&bus.Error{Code: bus.CodeUnavailable, Err: errors.New("injected")}))
		synctest.Wait()
		require.Nil(t, message.Load())

		// A request whose outcome is unknown is canceled.
		a = rpc.CallAsync[number](w.ctx, c, topic, "m", 1)
		a.Cancel()
		<-a.Done()
		request.Load().Complete(driver.Failed(&bus.Error{Code: bus.CodeOutcomeUnknown, Err: errors.New("injected")}))
		synctest.Wait()
		require.Equal(t, driver.AnyPartition, message.Load().Partition)
	})
}

// The parent of a call's context may have ended before package context has ended the child.
func TestCanceledCallNeverReportsADeadline(t *testing.T) {
	t.Parallel()
	watch := func(next rpc.Func) rpc.Func {
		return func(ctx context.Context, req *rpc.Request) (*rpc.Response, error) {
			done := ctx.Done() // from here on package context watches the parent
			resp, err := next(ctx, req)
			_ = done
			return resp, err
		}
	}
	w := inMemory(t)
	topic, c := w.topic("deserted", 1), w.client(rpc.WithWaitForServer(), rpc.WithInterceptors(watch))
	var all sync.WaitGroup
	errs := make([]error, 2000)
	for i := range errs {
		ctx := &slowContext{Context: w.ctx, done: make(chan struct{})}
		all.Go(func() { _, errs[i] = rpc.Call[number](ctx, c, topic, "m", 1) })
		time.AfterFunc(time.Duration(i)*10*time.Microsecond, ctx.cancel)
	}
	all.Wait()
	for _, err := range errs {
		requireError(t, err, codes.Canceled, false)
	}
}

// slowContext is a context of a type that is not from package context. Package context
// watches such a context with a goroutine, which may be late.
type slowContext struct {
	context.Context
	once  sync.Once
	ended atomic.Bool
	done  chan struct{}
}

func (c *slowContext) Done() <-chan struct{} { return c.done }
func (c *slowContext) cancel()               { c.once.Do(func() { c.ended.Store(true); close(c.done) }) }

func (c *slowContext) Err() error {
	if c.ended.Load() {
		return context.Canceled
	}
	return nil
}
