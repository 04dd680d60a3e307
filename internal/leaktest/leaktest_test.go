package leaktest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { Main(m) }

func TestFindWaitsForAGoroutineThatEnds(t *testing.T) {
	end := make(chan struct{})
	go func() { <-end }()
	require.ErrorContains(t, find(0), "TestFindWaitsForAGoroutineThatEnds")
	time.AfterFunc(600*time.Millisecond, func() { close(end) }) // longer than goleak.Find waits
	require.NoError(t, find(timeout))
}

// recorder is a testing.TB that records the cleanups and errors of a test.
type recorder struct {
	testing.TB
	cleanups []func()
	errors   []any
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Error(args ...any) { r.errors = append(r.errors, args...) }

func TestTestIgnoresGoroutinesThatRanBefore(t *testing.T) {
	end := make(chan struct{})
	go func() { <-end }()
	r := &recorder{TB: t}
	Test(r)
	require.Len(t, r.cleanups, 1)
	r.cleanups[0]()
	require.Empty(t, r.errors)
	close(end)
}
