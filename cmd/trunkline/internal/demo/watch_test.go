package demo

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/examples/devices"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/rpc"
)

// An observation that contradicts the registry is a misreport, unless the registry changed
// during the observation.
func TestWatcherFindsMisreports(t *testing.T) {
	t.Parallel()
	ready := probe.Snapshot{Version: 7, Ready: true}
	notReady := probe.Snapshot{Version: 8}
	for name, tc := range map[string]struct {
		ready         bool
		err           error
		before, after probe.Snapshot
		misreports    int
	}{
		"the truth":                    {true, nil, ready, ready, 0},
		"the truth, not ready":         {false, nil, notReady, notReady, 0},
		"ready while it is not":        {true, nil, notReady, notReady, 1},
		"not ready while it is":        {false, nil, ready, ready, 1},
		"the registry changed between": {true, nil, ready, notReady, 0},
		"no answer at all":             {false, errors.New("refused"), notReady, notReady, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &watcher{out: NewPrinter(&bytes.Buffer{}), changes: make(chan struct{}, 1)}
			w.note("HTTP", &w.overHTTP, tc.ready, "report", tc.err, tc.before, tc.after)
			require.Equal(t, tc.misreports, w.misreportCount)
			require.Len(t, w.misreports, tc.misreports)
			require.Equal(t, 1, w.overHTTP.count)
		})
	}
}

func TestObservationsFindChangesAndLosses(t *testing.T) {
	t.Parallel()
	t0 := time.Now()
	at := func(ms int, ready bool) change {
		return change{at: t0.Add(time.Duration(ms) * time.Millisecond), ready: ready}
	}
	s := &observations{changes: []change{at(0, false), at(10, true), at(100, false), at(200, true), at(300, false)}}
	cut := span{from: t0.Add(90 * time.Millisecond), to: t0.Add(200 * time.Millisecond)}
	require.Equal(t, 1, s.losses(cut), "only the last one: the first was before the core was ready")
	require.Equal(t, 2, s.losses(span{}))
	after, _ := s.firstAfter(cut.from, false)
	require.Equal(t, Millis(10*time.Millisecond), after)
	after, _ = s.firstAfter(t0.Add(400*time.Millisecond), true)
	require.Equal(t, never, after)
}

func TestTallySummarizesCallsAroundTheCut(t *testing.T) {
	t.Parallel()
	t0 := time.Now()
	call := func(began, took, attempt int, err error) devices.Call {
		return devices.Call{Began: t0.Add(time.Duration(began) * time.Millisecond), Took: time.Duration(took) * time.Millisecond, Attempt: attempt, Err: err}
	}
	gone := rpc.NewError(codes.Unavailable, errors.New("gone"))
	r := tally([]devices.Call{
		call(0, 10, 1, nil),                        // before the cut
		call(90, 500, 1, nil),                      // pending at the cut, with a reply
		call(95, 10, 1, gone),                      // pending at the cut, without a reply
		call(150, 10, 1, context.DeadlineExceeded), // during the cut
		call(700, 20, 2, nil),                      // after the cut
		call(700, 30, 2, nil),
	}, span{from: t0.Add(100 * time.Millisecond), to: t0.Add(600 * time.Millisecond)})
	require.Equal(t, CallReport{Total: 6, OK: 4, Failed: 2, Repeated: 2,
		FailedByCode: map[string]int{"Unavailable": 1, "DeadlineExceeded": 1},
		PendingAtCut: Pending{Calls: 2, Replied: 1, EndedWith: map[string]int{"Unavailable": 1}},
		OutsideCut:   Latency{Calls: 3, P50: Millis(20 * time.Millisecond), P99: Millis(30 * time.Millisecond)},
		Overall:      Latency{Calls: 4, P50: Millis(30 * time.Millisecond), P99: Millis(500 * time.Millisecond)}}, r)
	require.Equal(t, Latency{}, tally(nil, span{}).Overall)
}

func TestMillisHasAReadableForm(t *testing.T) {
	t.Parallel()
	require.Equal(t, "never", never.String())
	require.Equal(t, "1.50 ms", Millis(1500*time.Microsecond).String())
	require.Equal(t, "150 ms", Millis(150*time.Millisecond).String())
	require.Equal(t, "2.50 s", Millis(2500*time.Millisecond).String())
}
