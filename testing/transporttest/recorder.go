package transporttest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

// recorder records deliveries and the faults that handlers find. Handlers run on goroutines of
// the library, where FailNow must not be called. So they record faults, and the goroutine of
// the test fails when it waits for the recorder.
type recorder struct {
	mu         sync.Mutex
	deliveries []delivery
	faults     []string
	changed    chan struct{} // closed and replaced at each change
}

type delivery struct {
	number  int
	attempt int
	record  bus.Record
	at      time.Time
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

// number returns the number in the payload, -1 if there is none.
func number(d *bus.Delivery) int {
	n, err := strconv.Atoi(string(d.Record.Payload))
	if err != nil {
		return -1
	}
	return n
}

func (r *recorder) add(d *bus.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := number(d)
	if n < 0 {
		r.faults = append(r.faults, fmt.Sprintf("a message that was not published arrived: %q", d.Record.Payload))
	}
	r.deliveries = append(r.deliveries, delivery{n, d.Attempt, *d.Record, time.Now()})
	r.signal()
}

// fault records a violation that a handler has found.
func (r *recorder) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
	r.signal()
}

// signal wakes the goroutines that wait. The caller holds r.mu.
func (r *recorder) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// handler records the delivery and acknowledges it.
func (r *recorder) handler(_ context.Context, d *bus.Delivery) error {
	r.add(d)
	return nil
}

// batchHandler records the deliveries and acknowledges them.
func (r *recorder) batchHandler(_ context.Context, ds []*bus.Delivery) error {
	for _, d := range ds {
		r.add(d)
	}
	return nil
}

func (r *recorder) snapshot() []delivery {
	all, _, _ := r.state()
	return all
}

func (r *recorder) state() (deliveries []delivery, faults []string, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery(nil), r.deliveries...), append([]string(nil), r.faults...), r.changed
}

func (r *recorder) numbers() []int {
	var ns []int
	for _, d := range r.snapshot() {
		ns = append(ns, d.number)
	}
	return ns
}

// requireNoFaults fails the test if a handler has recorded a fault.
func (r *recorder) requireNoFaults(t *testing.T) {
	t.Helper()
	_, faults, _ := r.state()
	require.Empty(t, faults)
}

// until waits until ok returns true for the deliveries so far, and returns them. It fails the
// test as soon as there is a fault.
func (r *recorder) until(t *testing.T, e *env, what string, ok func([]delivery) bool) []delivery {
	t.Helper()
	timeout := time.After(e.timeout())
	for {
		deliveries, faults, changed := r.state()
		require.Empty(t, faults)
		if ok(deliveries) {
			return deliveries
		}
		select {
		case <-changed:
		case <-timeout:
			require.FailNow(t, "this did not happen: "+what, "%d deliveries so far", len(deliveries))
		}
	}
}

// count waits for n deliveries.
func (r *recorder) count(t *testing.T, e *env, n int) []delivery {
	t.Helper()
	return r.until(t, e, strconv.Itoa(n)+" deliveries", func(ds []delivery) bool { return len(ds) >= n })
}

// distinct waits until n different messages were delivered.
func (r *recorder) distinct(t *testing.T, e *env, n int) []delivery {
	t.Helper()
	return r.until(t, e, strconv.Itoa(n)+" different messages", func(ds []delivery) bool {
		seen := map[int]bool{}
		for _, d := range ds {
			seen[d.number] = true
		}
		return len(seen) >= n
	})
}

// last waits until the latest delivery is message n.
func (r *recorder) last(t *testing.T, e *env, n int) []delivery {
	t.Helper()
	return r.until(t, e, "delivery of message "+strconv.Itoa(n), func(ds []delivery) bool {
		return len(ds) > 0 && ds[len(ds)-1].number == n
	})
}

// covered reports whether the recorders together have the messages 0 to n-1.
func covered(n int, recorders ...*recorder) bool {
	seen := map[int]bool{}
	for _, r := range recorders {
		for _, i := range r.numbers() {
			seen[i] = true
		}
	}
	return len(seen) == n
}

// untilCovered waits until the recorders together have the messages 0 to n-1.
func untilCovered(t *testing.T, e *env, n int, recorders ...*recorder) {
	t.Helper()
	timeout := time.After(e.timeout())
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !covered(n, recorders...) {
		select {
		case <-poll.C:
		case <-timeout:
			require.FailNow(t, "not every message was delivered", "%d messages were published", n)
		}
	}
}
