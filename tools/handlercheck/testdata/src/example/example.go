package example

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

type message struct{}

func consume(func(context.Context, *message) error)  {}
func handle(func(context.Context, int) (int, error)) {}
func observe(func(context.Context, *message))        {}
func each(func(t *testing.T))                        {}
func use(t *testing.T, tb testing.TB, r *require.Assertions) {
	consume(func(ctx context.Context, m *message) error {
		require.NoError(t, nil) // want `require.NoError in a handler ends a goroutine of the library`
		r.NoError(nil)          // want `require.NoError in a handler`
		tb.Fatal("no")          // want `Fatal in a handler`
		t.FailNow()             // want `FailNow in a handler`
		t.Error("this is right")
		func() {
			require.NoError(t, nil) // want `require.NoError in a handler`
		}()
		return nil
	})
	handle(func(ctx context.Context, n int) (int, error) {
		consume(func(ctx context.Context, m *message) error {
			t.Skip() // want `Skip in a handler`
			return nil
		})
		return n, nil
	})

	// Not handlers: they run on the goroutine of the test.
	require.NoError(t, nil)
	observe(func(context.Context, *message) { t.Fatal("no error to return") })
	each(func(t *testing.T) { require.NoError(t, nil) })
	_ = require.New(t)
}
