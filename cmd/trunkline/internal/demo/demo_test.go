package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/examples/devices"
)

// observable is the least duration of a cut that the watcher has to observe.
const observable = time.Second

func config(url string, n int, cut time.Duration) Config {
	return Config{BusURL: url, Devices: n, InFlight: 16, Cut: cut, CallTimeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler),
		shutdown: 30 * time.Second}
}

func bounded(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestDemoPassesItsChecksOnEveryTransport(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg Config
		cut bool
	}{
		"memory":            {config("memory://", 60, observable), true},
		"memory with name":  {config("memory://TestDemo?partitions=4", 20, observable), true},
		"memory, no cut":    {config("memory://", 60, 0), false},
		"a single device":   {config("memory://", 1, observable), true},
		"channels":          {config("chan://", 60, observable), false},
		"kafka":             {config("kafka-embedded://", 60, observable), true},
		"kafka without cut": {config("kafka-embedded://", 20, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			tc.cfg.untilObserved = true
			report, err := Run(bounded(t, 100*time.Second), tc.cfg, NewPrinter(&out))
			require.NoError(t, err)
			require.Empty(t, report.Problems, out.String())
			require.True(t, report.OK)
			require.Equal(t, tc.cfg.Devices, report.Enabled)
			require.Equal(t, tc.cfg.Devices*3, report.Calls.OK)
			require.Equal(t, report.Calls.Failed, report.Calls.Repeated)
			require.Equal(t, tc.cut, report.Cut != nil)
			require.NotContains(t, out.String(), "\r", "the output is not a terminal")
			if tc.cut {
				require.Positive(t, report.Cut.NotReady)
				require.Positive(t, report.Cut.Unavailable)
				require.Positive(t, report.Cut.ReadyAgain)
				require.Positive(t, report.Cut.GRPCRefusals)
				_, afterCut, _ := strings.Cut(out.String(), "CUT ")
				during, after, restored := strings.Cut(afterCut, "RESTORE ")
				require.True(t, restored)
				require.Contains(t, during, "503 ")
				require.Contains(t, during, "UNAVAILABLE")
				require.Contains(t, after, "200 ready")
			}
			var table bytes.Buffer
			require.NoError(t, report.WriteTable(&table))
			require.Contains(t, table.String(), "OK: no call was lost")
		})
	}
}

func TestDemoReportsWhatChannelsDoNotSupport(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	report, err := Run(bounded(t, 60*time.Second), config("chan://", 3, time.Second), NewPrinter(&out))
	require.NoError(t, err)
	for _, lack := range []string{"no consumer groups", "has no log", "other processes", "no connection that could be cut"} {
		require.Contains(t, out.String(), lack)
	}
	require.Len(t, report.Cannot, 5)
	require.Contains(t, report.NoCut, "no connection that could be cut")
}

// The cut has no effect, so the core stays ready, and the demo must fail.
func TestDemoFailsIfTheCoreStaysReady(t *testing.T) {
	t.Parallel()
	n, err := openNetwork(t.Context(), "memory://", "stays-ready")
	require.NoError(t, err)
	n.cut = func() {}
	report, err := runOn(bounded(t, 60*time.Second), n, config("", 10, 200*time.Millisecond), "stays-ready", NewPrinter(&bytes.Buffer{}))
	require.NoError(t, err)
	require.False(t, report.OK)
	require.Contains(t, strings.Join(report.Problems, "\n"), "/readyz did not report not ready")
	require.Contains(t, strings.Join(report.Problems, "\n"), "gRPC did not answer UNAVAILABLE")
	require.Equal(t, never, report.Cut.NotReady)
}

func TestDemoFailsIfTheTransportIsNotRestored(t *testing.T) {
	t.Parallel()
	n, err := openNetwork(t.Context(), "memory://", "not-restored")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(bounded(t, 60*time.Second))
	defer cancel()
	n.restore = cancel // ends the run instead
	cfg := config("", 10, observable)
	cfg.untilObserved = true
	cfg.shutdown = 500 * time.Millisecond
	report, err := runOn(ctx, n, cfg, "not-restored", NewPrinter(&bytes.Buffer{}))
	require.NoError(t, err)
	require.False(t, report.OK)
	problems := strings.Join(report.Problems, "\n")
	require.Contains(t, problems, "the core did not become ready again")
	require.Contains(t, problems, "of 10 devices are enabled")
	require.Contains(t, problems, "a topic was not deleted")
}

func TestDemoRejectsInvalidURLsAndFlags(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"nowhere://", "memory://x?speed=1", "kafka-embedded://host", "kafka-embedded://?x=1", "kafka://", "kafka://h:1?x=1", "chan"} {
		_, err := Run(t.Context(), config(url, 1, 0), NewPrinter(&bytes.Buffer{}))
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%s: %v", url, err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Devices = 0 }, func(c *Config) { c.Devices = 100_000 }, func(c *Config) { c.InFlight = 0 },
		func(c *Config) { c.Cut = -1 }, func(c *Config) { c.Cut = 1 }, func(c *Config) { c.CallTimeout = 1 },
	} {
		c := config("memory://", 1, 0)
		change(&c)
		_, err := Run(t.Context(), c, NewPrinter(&bytes.Buffer{}))
		require.ErrorContains(t, err, "-")
	}
}

func TestReportHasMillisecondsInJSON(t *testing.T) {
	t.Parallel()
	r := &Report{OK: true, Problems: []string{}, Cut: &CutReport{NotReady: Millis(1500 * time.Microsecond), ReadyAgain: never},
		Adapter: devices.Summary{Steps: 3}}
	var b bytes.Buffer
	require.NoError(t, r.WriteJSON(&b))
	var got map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &got))
	cut := got["cut"].(map[string]any)
	require.InDelta(t, 1.5, cut["not_ready_after_ms"], 0)
	require.InDelta(t, -1, cut["ready_again_after_ms"], 0)
	require.Equal(t, []any{}, got["problems"])
}
