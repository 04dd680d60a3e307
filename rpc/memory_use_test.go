package rpc_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/transport/memory"
)

var flatCalls = flag.Int("rpc.calls", 20_000, "number of calls of TestMemoryDoesNotGrowWithCalls on each transport")

const (
	flatCallers    = 32
	flatPartitions = 2
	// flatWindow limits the worker goroutines of each partition. Workers do not end when
	// they are idle.
	flatWindow = 32
	// flatHeap is the allowed growth of the heap between a tenth of the calls and all of
	// them. It is a few bytes for each call, and allows for variations between garbage
	// collections.
	flatHeap = 1 << 20
)

// caller makes calls one after another. One call in a hundred fails, and one is canceled
// while its handler runs.
type caller struct {
	cancel atomic.Pointer[context.CancelFunc] // of the call that is to be canceled
}

func (a *caller) call(w *fixture, c *rpc.Client, topic, hung string, n, self int) error {
	switch n % 100 {
	case 33:
		_, err := rpc.Call[number](w.ctx, c, topic, "fail", &number{n})
		if rpc.CodeOf(err) != codes.NotFound {
			return fmt.Errorf("a call whose handler returned NotFound ended with %w", err)
		}
		return nil
	case 66:
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		a.cancel.Store(&cancel)
		_, err := rpc.Call[number](ctx, c, hung, "hang", &number{self})
		if rpc.CodeOf(err) != codes.Canceled {
			return fmt.Errorf("a canceled call ended with %w", err)
		}
		return nil
	}
	got, err := rpc.Call[number](w.ctx, c, topic, "double", &number{n}, rpc.Key(fmt.Sprint(n)))
	if err == nil && got.N != 2*n {
		err = fmt.Errorf("the call with %d got %d", n, got.N)
	}
	return err
}

// usage is what the process uses at one time.
type usage struct {
	goroutines int
	heap       uint64
}

func (l usage) String() string {
	return fmt.Sprintf("%d goroutines, %.2f MiB", l.goroutines, float64(l.heap)/(1<<20))
}

func measure() usage {
	runtime.GC()
	runtime.GC() // a sync.Pool keeps its objects for one collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), m.HeapAlloc}
}

// The test compares the heap after all calls with the heap after a tenth of them, and
// counts goroutines. It is not parallel, because it measures the whole process.
func TestMemoryDoesNotGrowWithCalls(t *testing.T) {
	for _, tr := range []struct {
		name string
		open func(t *testing.T) func() driver.Transport
	}{
		{"memory", func(t *testing.T) func() driver.Transport {
			log, err := memory.NewLog(memory.WithMaxRecords(256)) // full at a tenth of the calls
			require.NoError(t, err)
			return onMemoryLog(t, log)
		}},
		{"gochannel", onGochannel},
	} {
		t.Run(tr.name, func(t *testing.T) {
			require.GreaterOrEqual(t, *flatCalls, 10_000, "-rpc.calls: a tenth of the calls must fill every bounded cache and queue")
			w := newFixture(t, tr.open(t))
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute+time.Duration(*flatCalls)*time.Millisecond)
			t.Cleanup(cancel)
			w.ctx = ctx
			holdNoMore(w)
		})
	}
}

func holdNoMore(w *fixture) {
	callers := make([]caller, flatCallers)
	// A handler that hangs prevents its partition from being trimmed until its cancel message
	// arrives. On one topic the other requests would fill this small log before that.
	topic, hung := w.topic("calc", flatPartitions), w.topic("hung", flatPartitions)
	s := w.server(bus.Unordered(), bus.Concurrency(flatWindow/2), bus.Window(flatWindow), rpc.WithReplayCache(256, 1<<20))
	handle(w, s, "double", double)
	handle(w, s, "fail", func(context.Context, *number) (*number, error) {
		return nil, rpc.NewError(codes.NotFound, errors.New("no such number"))
	})
	handle(w, s, "hang", func(ctx context.Context, n *number) (*number, error) {
		(*callers[n.N].cancel.Load())()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	w.start(s, topic)
	w.start(s, hung)
	c := w.client()
	require.NoError(w, c.Ready(w.ctx))

	next := 0
	upTo := func(end int) (usage, time.Duration) {
		begun := time.Now()
		errs := make([]error, flatCallers)
		var calling sync.WaitGroup
		for i := range callers {
			calling.Go(func() {
				for n := next + i; n < end && errs[i] == nil; n += flatCallers {
					errs[i] = callers[i].call(w, c, topic, hung, n, i)
				}
			})
		}
		calling.Wait()
		next = end
		took := time.Since(begun)
		require.NoError(w, errors.Join(errs...))
		w.eventually("server and client are idle", func() bool { return s.Stats().InFlight == 0 && c.Stats().Pending == 0 })
		return measure(), took
	}
	before := measure()
	tenth, first := upTo(*flatCalls / 10)
	all, rest := upTo(*flatCalls)
	w.Logf("before: %v", before)
	w.Logf("after %d calls: %v", *flatCalls/10, tenth)
	w.Logf("after %d calls: %v, in %.1f s", *flatCalls, all, (first + rest).Seconds())
	w.Logf("server: %d handled, %d failed, %d canceled; client: %d calls, %d canceled",
		s.Stats().Handled, s.Stats().Failed, s.Stats().Canceled, c.Stats().Calls, c.Stats().Cancels)
	require.EqualValues(w, *flatCalls, c.Stats().Calls)
	require.LessOrEqual(w, all.goroutines, before.goroutines+2*flatPartitions*flatWindow, "calls leave no goroutines")
	require.LessOrEqual(w, all.heap, tenth.heap+flatHeap, "calls leave nothing on the heap")
}
