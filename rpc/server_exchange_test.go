package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/rpc"
)

// The order in which the methods of the context are called makes no difference.
func TestHandlerContextBehavesLikeAContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t)
		topic := w.topic("calc", 1)
		s := w.server()
		seen := make(chan context.Context, 1)
		handle(w, s, "expire", func(ctx context.Context, n *number) (*number, error) {
			seen <- ctx
			time.Sleep(2 * time.Second)
			assert.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
			assert.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
			<-ctx.Done()
			return n, nil
		})
		handle(w, s, "derive", func(ctx context.Context, n *number) (*number, error) {
			seen <- ctx
			child, cancel := context.WithTimeoutCause(ctx, time.Second, errors.New("child"))
			defer cancel()
			<-child.Done()
			assert.NoError(t, ctx.Err())
			assert.EqualError(t, context.Cause(child), "child")
			info, ok := rpc.FromContext(child)
			if assert.True(t, ok) {
				assert.Equal(t, "derive", info.Method)
			}
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
			synctest.Wait() // the reply may arrive before the handler's goroutine has ended
			require.ErrorIs(t, kept.Err(), context.Canceled, "the context ends with its handler")
			<-kept.Done()
		}
	})
}

func TestHandlersMakeCallsToTheirOwnServer(t *testing.T) {
	onEveryTransport(t, func(w *fixture) {
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
					err = fmt.Errorf("the call with %d got %d", i, got.N)
				}
				errs[i] = err
			})
		}
		all.Wait()
		require.NoError(w, errors.Join(errs...))
	})
}
