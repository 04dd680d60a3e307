package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/examples/devices"
	"github.com/trunkline/trunkline/liveness/probe"
)

// observeInterval is the time between two observations.
const observeInterval = 10 * time.Millisecond

// watcher observes the readiness of the core from outside, over HTTP and gRPC, and compares
// it with the registry. The watcher compares an observation only if the registry did not
// change during the observation.
type watcher struct {
	out     *Printer
	reg     *probe.Registry
	url     string
	conn    *grpc.ClientConn
	http    *http.Client
	changes chan struct{} // holds one token after a change

	mu             sync.Mutex
	overHTTP       observations
	overGRPC       observations
	misreports     []string
	misreportCount int
}

// observations holds what the watcher has observed over one protocol, HTTP or gRPC.
type observations struct {
	count   int
	known   bool
	ready   bool
	since   time.Time // the time of the last change
	changes []change
	refused int // the number of observations of not ready since mark was called
}

type change struct {
	at    time.Time
	ready bool
	why   string
}

// run observes until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { w.loop(ctx, "HTTP /readyz", &w.overHTTP, w.observeHTTP) })
	both.Go(func() { w.loop(ctx, "gRPC "+devices.MethodDevices, &w.overGRPC, w.observeGRPC) })
	both.Wait()
}

// observeFunc returns whether the core reports that it is ready, and the text of its report.
type observeFunc func(ctx context.Context) (ready bool, report string, err error)

func (w *watcher) loop(ctx context.Context, name string, s *observations, observe observeFunc) {
	tick := time.NewTicker(observeInterval)
	defer tick.Stop()
	for {
		before := w.reg.Snapshot()
		ready, report, err := observe(ctx)
		after := w.reg.Snapshot()
		if ctx.Err() != nil {
			return
		}
		w.note(name, s, ready, report, err, before, after)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) note(name string, s *observations, ready bool, report string, err error, before, after probe.Snapshot) {
	w.mu.Lock()
	s.count++
	if !ready {
		s.refused++
	}
	switch {
	case err != nil:
		w.misreport(fmt.Sprintf("%s did not answer: %v", name, err))
	case before.Version == after.Version && ready != before.Ready:
		w.misreport(fmt.Sprintf("%s answered %q while the registry had ready=%v", name, report, before.Ready))
	}
	changed := !s.known || s.ready != ready
	if changed {
		s.known, s.ready, s.since = true, ready, time.Now()
		s.changes = append(s.changes, change{at: s.since, ready: ready, why: report})
		w.out.Event("core   %s: %s", name, report) // under mu, so that callers of await print their events later
	}
	w.mu.Unlock()
	if changed {
		select {
		case w.changes <- struct{}{}:
		default:
		}
	}
}

func (w *watcher) misreport(what string) {
	w.misreportCount++
	if len(w.misreports) < 10 {
		w.misreports = append(w.misreports, what)
	}
}

func (w *watcher) observeHTTP(ctx context.Context) (bool, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/readyz", nil)
	if err != nil {
		return false, "", err
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return false, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return false, "", err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return true, "200 ready", nil
	case http.StatusServiceUnavailable:
		return false, "503 " + notReadyLine(string(body)), nil
	default:
		return false, resp.Status, fmt.Errorf("unexpected status %s", resp.Status)
	}
}

// notReadyLine returns the first line of the body about a service that is not ready.
func notReadyLine(body string) string {
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		if why, ok := strings.CutPrefix(lines.Text(), "[-]"); ok {
			return why
		}
	}
	return "not ready"
}

func (w *watcher) observeGRPC(ctx context.Context) (bool, string, error) {
	_, err := devices.FetchProgress(ctx, w.conn)
	switch status.Code(err) {
	case codes.OK:
		return true, "OK", nil
	case codes.Unavailable:
		// A failed connection is Unavailable too, but not an answer of the server.
		if len(status.Convert(err).Details()) == 0 {
			return false, "", err
		}
		return false, "UNAVAILABLE, " + status.Convert(err).Message(), nil
	default:
		return false, "", err
	}
}

// await waits until the observations satisfy ok.
func (w *watcher) await(ctx context.Context, ok func(http, grpc observations) bool) error {
	for {
		w.mu.Lock()
		done := ok(w.overHTTP, w.overGRPC)
		w.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-w.changes:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// mark resets the counts of observations of not ready.
func (w *watcher) mark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.overHTTP.refused, w.overGRPC.refused = 0, 0
}

func bothNotReady(http, grpc observations) bool {
	return http.known && grpc.known && !http.ready && !grpc.ready
}

func bothReady(http, grpc observations) bool {
	return http.known && grpc.known && http.ready && grpc.ready
}

// firstAfter returns the time from t to the first change to ready after t, and what the core
// reported then. Without such a change, the time is never.
func (s *observations) firstAfter(t time.Time, ready bool) (Millis, string) {
	for _, c := range s.changes {
		if c.ready == ready && c.at.After(t) {
			return Millis(c.at.Sub(t)), c.why
		}
	}
	return never, ""
}

// losses counts the changes to not ready after the first ready, outside of cut.
func (s *observations) losses(cut span) int {
	n, began := 0, false
	for _, c := range s.changes {
		began = began || c.ready
		inCut := !cut.isZero() && !c.at.Before(cut.from) && !c.at.After(cut.to)
		if began && !c.ready && !inCut {
			n++
		}
	}
	return n
}
