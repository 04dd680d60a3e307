package bustest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// fakeT is a testing.TB that records failures. It implements the methods that a kit calls; the
// others panic.
type fakeT struct {
	testing.TB

	mu       sync.Mutex
	failures []string
	logs     []string
	cleanups []func()
}

func (f *fakeT) Helper()                  {}
func (f *fakeT) Context() context.Context { return context.Background() }

func (f *fakeT) Cleanup(c func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cleanups = append(f.cleanups, c)
}

func (f *fakeT) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func (f *fakeT) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *fakeT) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}

// runTest runs a test, including its cleanups, and returns its failures, "" if it passed.
func runTest(test func(t testing.TB)) string {
	f := &fakeT{}
	f.run(func() { test(f) })
	for _, c := range slices.Backward(f.cleanups) {
		f.run(c)
	}
	return strings.Join(f.failures, "\n")
}

// runInBubble is runTest inside testing/synctest: time-outs take no real time, and a slow machine
// does not cause them.
func runInBubble(t *testing.T, test func(t testing.TB)) (failure string) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { failure = runTest(test) })
	return failure
}

func (f *fakeT) run(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
}
