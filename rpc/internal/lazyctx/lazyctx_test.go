package lazyctx_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/rpc/internal/lazyctx"
)

type key struct{}

func TestContextEndsWithEachOfItsReasons(t *testing.T) {
	t.Parallel()
	reason := errors.New("reason")
	for name, tt := range map[string]struct {
		end   func(c *lazyctx.Context, parent, also context.CancelCauseFunc)
		err   error
		cause error
	}{
		"parent":   {func(_ *lazyctx.Context, parent, _ context.CancelCauseFunc) { parent(reason) }, context.Canceled, reason},
		"also":     {func(_ *lazyctx.Context, _, also context.CancelCauseFunc) { also(reason) }, context.Canceled, reason},
		"deadline": {func(*lazyctx.Context, context.CancelCauseFunc, context.CancelCauseFunc) { time.Sleep(time.Minute + 1) }, context.DeadlineExceeded, context.DeadlineExceeded},
		"end":      {func(c *lazyctx.Context, _, _ context.CancelCauseFunc) { c.End() }, context.Canceled, context.Canceled},
		"end with": {func(c *lazyctx.Context, _, _ context.CancelCauseFunc) { c.EndWith(reason); c.End() }, context.Canceled, reason},
	} {
		for when, watch := range map[string]bool{"watched": true, "not watched": false} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					parent, endParent := context.WithCancelCause(context.WithValue(context.Background(), key{}, "value"))
					also, endAlso := context.WithCancelCause(context.Background())
					defer endParent(nil)
					defer endAlso(nil)
					c := &lazyctx.Context{Context: parent, Also: also, Until: time.Now().Add(time.Minute)}
					defer c.End()
					require.NoError(t, c.Err())
					require.Equal(t, "value", c.Value(key{}))
					if watch {
						child, cancel := context.WithCancel(c)
						defer cancel()
						require.NoError(t, child.Err())
						require.Equal(t, "value", child.Value(key{}))
						defer func() { require.Equal(t, tt.err, child.Err()) }()
					}
					tt.end(c, endParent, endAlso)
					require.Equal(t, tt.err, c.Err(), "the context has ended")
					<-c.Done()
					require.Equal(t, tt.cause, context.Cause(c))
					synctest.Wait()
				})
			})
		}
	}
}

func TestDeadlineIsTheEarlierOne(t *testing.T) {
	t.Parallel()
	now := time.Now()
	parent, cancel := context.WithDeadline(context.Background(), now.Add(time.Hour))
	defer cancel()
	for want, c := range map[time.Duration]*lazyctx.Context{
		time.Minute:     {Context: parent, Until: now.Add(time.Minute)},
		time.Hour:       {Context: parent, Until: now.Add(2 * time.Hour)},
		2 * time.Minute: {Context: context.Background(), Until: now.Add(2 * time.Minute)},
	} {
		d, ok := c.Deadline()
		require.True(t, ok)
		require.Equal(t, now.Add(want), d)
	}
	_, ok := (&lazyctx.Context{Context: context.Background()}).Deadline()
	require.False(t, ok)
	d, ok := (&lazyctx.Context{Context: parent}).Deadline()
	require.True(t, ok)
	require.Equal(t, now.Add(time.Hour), d)
}

// Not parallel: it counts goroutines.
func TestContextStartsNothingBeforeItIsWatched(t *testing.T) { //nolint:paralleltest // counts goroutines
	before := runtime.NumGoroutine()
	c := &lazyctx.Context{Context: context.Background(), Also: t.Context(), Until: time.Now().Add(time.Hour)}
	require.NoError(t, c.Err())
	require.Nil(t, c.Value(key{}))
	require.Equal(t, before, runtime.NumGoroutine())
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = c.Err(); _ = c.Value(key{}) }))
	c.End()
}
