package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

// command runs a command line to its end.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	var out, errs watched // written from many goroutines, as files may be
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { taken.Close() }) // after the parallel subtests
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no arguments":       {nil, exitUsage, "USAGE"},
		"unknown command":    {[]string{"dmeo"}, exitUsage, `unknown command "dmeo"`},
		"unknown flag":       {[]string{"demo", "-speed", "9"}, exitUsage, "-speed"},
		"unknown root flag":  {[]string{"-speed", "9"}, exitUsage, "-speed"},
		"bad value":          {[]string{"demo", "-devices", "many"}, exitUsage, "-devices"},
		"out of range":       {[]string{"demo", "-devices", "0"}, exitUsage, "-devices"},
		"no time":            {[]string{"demo", "-timeout", "0s"}, exitUsage, "-timeout"},
		"argument":           {[]string{"demo", "memory://"}, exitUsage, `unexpected argument "memory://"`},
		"unknown scheme":     {[]string{"demo", "-bus", "nats://h"}, exitUsage, "nats"},
		"unknown parameter":  {[]string{"demo", "-bus", "memory://x?speed=9"}, exitUsage, "speed"},
		"no host:port":       {[]string{"dev", "-addr", "9092"}, exitUsage, "-addr"},
		"another host":       {[]string{"dev", "-addr", "0.0.0.0:9092"}, exitUsage, "loopback"},
		"no partitions":      {[]string{"dev", "-topics", "a:0"}, exitUsage, "-topics"},
		"no topic name":      {[]string{"dev", "-topics", ":2"}, exitUsage, "-topics"},
		"version's argument": {[]string{"version", "please"}, exitUsage, "please"},
		"port taken":         {[]string{"dev", "-addr", taken.Addr().String()}, exitUnavailable, "address already in use"},
		"a check failed": {[]string{"demo", "-devices", "20", "-in-flight", "4", "-cut", "1m", "-timeout", "20s"}, exitFailed,
			"not done within 20s"}, // long enough to reach the cut
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := command(t, tc.args...)
			require.Equal(t, tc.code, code, stdout+stderr)
			require.Contains(t, stdout+stderr, tc.says)
			if code == exitUsage && len(tc.args) > 0 {
				require.Equal(t, 1, strings.Count(stderr, "\n"), "one line: %s", stderr)
			}
		})
	}
}

func TestHelpDescribesUsageExamplesAndExitCodes(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-help"}, {"--help"}, {"demo", "--help"}, {"dev", "-h"}, {"version", "-help"}} {
		code, stdout, stderr := command(t, args...)
		require.Equal(t, exitOK, code, args)
		require.Empty(t, stderr)
		for _, part := range []string{"USAGE", "EXAMPLES", "EXIT CODES", "trunkline "} {
			require.Contains(t, stdout, part, args)
		}
	}
}

func TestVersionPrintsTextOrJSON(t *testing.T) {
	t.Parallel()
	code, stdout, _ := command(t, "version")
	require.Equal(t, exitOK, code)
	require.Regexp(t, `^trunkline \S.* go1\.\S+ \w+/\w+\n$`, stdout)
	code, stdout, _ = command(t, "version", "-json")
	require.Equal(t, exitOK, code)
	var v version
	require.NoError(t, json.Unmarshal([]byte(stdout), &v))
	require.NotEmpty(t, v.Version)
}

func TestDemoPassesItsChecks(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := command(t, "demo", "-devices", "30", "-cut", "3s") // long enough for the probes to see it
	require.Equal(t, exitOK, code, stdout+stderr)
	require.Empty(t, stderr)
	require.Contains(t, stdout, "30 of 30 enabled")
	require.Contains(t, stdout, "OK: no call was lost")
}

func TestDemoPrintsOnlyTheReportAsJSON(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := command(t, "demo", "-devices", "10", "-bus", "chan://", "-json", "-v")
	require.Equal(t, exitOK, code, stdout+stderr)
	var report struct {
		OK      bool
		Enabled int
		NoCut   string `json:"no_cut"`
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &report), "only the report is on stdout")
	require.True(t, report.OK)
	require.Equal(t, 10, report.Enabled)
	require.NotEmpty(t, report.NoCut)
	require.Contains(t, stderr, "starts: probes at")
	require.Contains(t, stderr, "every device is enabled")
}

func TestInterruptedDemoExitsWith130(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &watched{want: "CUT", seen: cancel}
	require.Equal(t, exitInterrupted, run(ctx, []string{"demo", "-devices", "50", "-cut", "1m"}, out, io.Discard))
}

func TestDevRunsABrokerUntilInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan struct{})
	out := &watched{want: "press Ctrl-C", seen: func() { close(ready) }}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"dev", "-addr", "127.0.0.1:0", "-topics", "orders:3, events"}, out, os.Stderr)
	}()
	select {
	case <-ready:
	case c := <-code:
		t.Fatalf("the command ended with %d: %s", c, out)
	case <-time.After(time.Minute):
		t.Fatalf("the broker did not start within a minute: %s", out)
	}
	addr := regexp.MustCompile(`-bus kafka://(\S+)`).FindStringSubmatch(out.String())
	require.Len(t, addr, 2)
	broker, err := kafkatest.Attach(t.Context(), []string{addr[1]})
	require.NoError(t, err)
	require.NoError(t, broker.AddPartitions(t.Context(), "orders", 4), "the command creates the topics of -topics")
	require.Error(t, broker.CreateTopic(t.Context(), "events", 1), "the command creates the topics of -topics")
	cancel()
	require.Equal(t, exitOK, <-code)
}

// watched is a writer. If seen is set, it calls seen when the text want was written.
type watched struct {
	want string
	seen func()

	mu   sync.Mutex
	text bytes.Buffer
	done bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.seen != nil && !w.done && strings.Contains(w.text.String(), w.want) {
		w.done = true
		w.seen()
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
