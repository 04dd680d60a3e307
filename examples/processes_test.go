//go:build unix

// Package examples_test runs the example programs as processes.
package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/internal/freeport"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/testing/kafkatest"
)

// bin is the folder with the programs, built once.
var bin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "trunkline-examples")
	if err != nil {
		panic(err)
	}
	bin = dir
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", dir+string(os.PathSeparator), "./core", "./adapter", "../cmd/trunkline").CombinedOutput()
	if err != nil {
		_ = os.RemoveAll(dir)
		panic(string(out))
	}
	code := leaktest.Run(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// limit bounds every wait. A wait ends much earlier unless something is broken.
const limit = 90 * time.Second

// process is a running program, and the lines that it has printed.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; set before done is closed

	mu      sync.Mutex
	lines   []string
	changed chan struct{}
}

func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(filepath.Join(bin, name), args...), done: make(chan struct{}), changed: make(chan struct{})}
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	require.NoError(t, p.cmd.Start())
	var reading sync.WaitGroup
	reading.Go(func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			p.add(s.Text())
		}
	})
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
		w.Close()
		reading.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // has no effect if it has ended
		<-p.done
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, p.output())
		}
	})
	return p
}

func (p *process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// await returns the first match of pattern in what the process prints.
func (p *process) await(pattern string) []string {
	p.t.Helper()
	re, timeout := regexp.MustCompile(pattern), time.After(limit)
	for {
		p.mu.Lock()
		text, changed := strings.Join(p.lines, "\n"), p.changed
		p.mu.Unlock()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-changed:
		case <-p.done:
			p.t.Fatalf("%s ended before it printed %q: %v\n%s", p.name, pattern, p.err, p.output())
		case <-timeout:
			p.t.Fatalf("%s did not print %q:\n%s", p.name, pattern, p.output())
		}
	}
}

// terminate sends SIGTERM to the process, and returns its exit code.
func (p *process) terminate() int {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("%s does not end:\n%s", p.name, p.output())
	}
	return p.cmd.ProcessState.ExitCode()
}

// awaitProbe waits until the probe responds with this status.
func awaitProbe(t *testing.T, url string, status int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var last string
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		if err == nil {
			body, _ := io.ReadAll(resp.Body) // for the message only
			resp.Body.Close()
			if last = fmt.Sprintf("%s %s", resp.Status, bytes.TrimSpace(body)); resp.StatusCode == status {
				tick.Stop()
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s did not answer %d: %s %v", url, status, last, err)
		}
	}
}

// Core and adapter are processes of their own. They adopt every device over Kafka,
// `trunkline services` lists both, and they end cleanly. The adapter starts first and the
// broker last, because nothing may depend on an order.
func TestCoreAndAdapterAcrossProcesses(t *testing.T) {
	t.Parallel()
	port, err := freeport.Loopback()
	require.NoError(t, err)
	url := fmt.Sprintf("kafka://127.0.0.1:%d", port)

	adapter := start(t, "adapter", "-bus", url, "-probe", "127.0.0.1:0", "-shutdown-timeout", "1m")
	adapterProbe := adapter.await(`probes at (http://\S+)`)[1]
	core := start(t, "core", "-bus", url, "-devices", "100", "-probe", "127.0.0.1:0", "-grpc", "127.0.0.1:0", "-shutdown-timeout", "1m")
	coreProbe := core.await(`probes at (http://[^,\s]+)`)[1]
	awaitProbe(t, coreProbe+"/readyz", http.StatusServiceUnavailable)
	awaitProbe(t, coreProbe+"/livez", http.StatusOK)

	broker, err := kafkatest.Start(t.Context(), kafkatest.WithPort(port))
	require.NoError(t, err)
	t.Cleanup(func() { _ = broker.Close() })
	core.await(`all 100 devices are enabled`)
	awaitProbe(t, coreProbe+"/readyz", http.StatusOK)
	awaitProbe(t, adapterProbe+"/readyz", http.StatusOK)
	awaitServices(t, url, "adapter", "core")

	require.Zero(t, core.terminate(), core.output())
	require.Zero(t, adapter.terminate(), adapter.output())
	require.Contains(t, adapter.output(), "100 devices enabled in 300 steps, in order and as sent;")
	require.Contains(t, adapter.output(), " 0 violations")
}

// awaitServices waits until the command-line tool lists these services as serving. A program
// answers discovery requests a moment after it is ready.
func awaitServices(t *testing.T, url string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		out, err := exec.CommandContext(ctx, filepath.Join(bin, "trunkline"), "services", "-json", "-bus", url).Output()
		require.NoError(t, ctx.Err(), "the services are not listed in time: %s", out)
		require.NoError(t, err, "%s", out)
		var list []struct {
			Service string `json:"service"`
			State   string `json:"state"`
		}
		require.NoError(t, json.Unmarshal(out, &list), "%s", out)
		var serving []string
		for _, s := range list { // sorted by name
			if s.State == "serving" {
				serving = append(serving, s.Service)
			}
		}
		if slices.Equal(want, serving) {
			return
		}
	}
}

func TestWrongCommandLineExitsWith2(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core", "adapter"} {
		program := filepath.Join(bin, name)
		for _, args := range [][]string{{"-speed", "9"}, {"-bus", "memory://x"}, {"-bus", "kafka://u:p@h:1"}, {"something"}, {"-live-interval", "0s"}} {
			cmd := exec.CommandContext(t.Context(), program, append(args, "-probe", "127.0.0.1:0")...)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s %v: %s", name, args, out)
			require.Equal(t, 2, exit.ExitCode(), "%s %v: %s", name, args, out)
			require.Equal(t, 1, bytes.Count(out, []byte("\n")), "one line: %s", out)
		}
		out, err := exec.CommandContext(t.Context(), program, "-help").CombinedOutput()
		require.NoError(t, err)
		require.Contains(t, string(out), "examples:")
	}
}
