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

// lookEvery is the time between two looks.
const lookEvery = 10 * time.Millisecond

// watcher looks at the core from outside, over HTTP and gRPC, and compares what it is
// told with the registry: a look counts only if the registry did not change while it
// was made.
type watcher struct {
	out     *Printer
	reg     *probe.Registry
	url     string
	conn    *grpc.ClientConn
	http    *http.Client
	changes chan struct{} // holds one token when http or gRPC changed

	mu          sync.Mutex
	overHTTP    seen
	overGRPC    seen
	misreports  []string
	misreported int
}

// seen is what one way of looking has shown.
type seen struct {
	looks   int
	known   bool
	ready   bool
	since   time.Time // of the last change
	changes []change
	refused int // looks that said not ready, since mark
}

type change struct {
	at    time.Time
	ready bool
	why   string
}

// run looks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { w.loop(ctx, "HTTP /readyz", &w.overHTTP, w.lookHTTP) })
	both.Go(func() { w.loop(ctx, "gRPC "+devices.MethodDevices, &w.overGRPC, w.lookGRPC) })
	both.Wait()
}

// look returns whether the core says that it is ready, and what it said.
type look func(ctx context.Context) (ready bool, said string, err error)

func (w *watcher) loop(ctx context.Context, name string, s *seen, look look) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		before := w.reg.Snapshot()
		ready, said, err := look(ctx)
		after := w.reg.Snapshot()
		if ctx.Err() != nil {
			return
		}
		w.note(name, s, ready, said, err, before, after)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) note(name string, s *seen, ready bool, said string, err error, before, after probe.Snapshot) {
	w.mu.Lock()
	s.looks++
	if !ready {
		s.refused++
	}
	switch {
	case err != nil:
		w.misreport(fmt.Sprintf("%s gave no answer: %v", name, err))
	case before.Version == after.Version && ready != before.Ready:
		w.misreport(fmt.Sprintf("%s answered %q while the registry said ready=%v", name, said, before.Ready))
	}
	changed := !s.known || s.ready != ready
	if changed {
		s.known, s.ready, s.since = true, ready, time.Now()
		s.changes = append(s.changes, change{at: s.since, ready: ready, why: said})
		w.out.Event("core   %s: %s", name, said) // before anybody goes on because of it
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
	w.misreported++
	if len(w.misreports) < 10 {
		w.misreports = append(w.misreports, what)
	}
}

func (w *watcher) lookHTTP(ctx context.Context) (bool, string, error) {
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

// notReadyLine is the first line that says what is not ready.
func notReadyLine(body string) string {
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		if why, ok := strings.CutPrefix(lines.Text(), "[-]"); ok {
			return why
		}
	}
	return "not ready"
}

func (w *watcher) lookGRPC(ctx context.Context) (bool, string, error) {
	_, err := devices.FetchProgress(ctx, w.conn)
	switch status.Code(err) {
	case codes.OK:
		return true, "OK", nil
	case codes.Unavailable:
		// The connection itself failing is Unavailable too, and no answer of the server's.
		if len(status.Convert(err).Details()) == 0 {
			return false, "", err
		}
		return false, "UNAVAILABLE, " + status.Convert(err).Message(), nil
	default:
		return false, "", err
	}
}

// await waits until what both ways have shown satisfies ok.
func (w *watcher) await(ctx context.Context, ok func(http, grpc seen) bool) error {
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

// mark begins to count the looks that say not ready.
func (w *watcher) mark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.overHTTP.refused, w.overGRPC.refused = 0, 0
}

func bothAway(http, grpc seen) bool { return http.known && grpc.known && !http.ready && !grpc.ready }

func bothReady(http, grpc seen) bool { return http.known && grpc.known && http.ready && grpc.ready }

// firstAfter returns how long after t the first change to ready came, or never, and
// why it changed.
func (s *seen) firstAfter(t time.Time, ready bool) (Millis, string) {
	for _, c := range s.changes {
		if c.ready == ready && c.at.After(t) {
			return Millis(c.at.Sub(t)), c.why
		}
	}
	return never, ""
}

// losses counts changes to not ready after the first ready, outside of cut.
func (s *seen) losses(cut span) int {
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
