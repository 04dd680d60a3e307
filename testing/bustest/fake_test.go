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

// fakeT is a test that may fail. What it does not have panics.
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

// failing runs a test to its end, cleanups included, and returns how it failed, "" when it
// did not.
func failing(test func(t testing.TB)) string {
	f := &fakeT{}
	f.run(func() { test(f) })
	for _, c := range slices.Backward(f.cleanups) {
		f.run(c)
	}
	return strings.Join(f.failures, "\n")
}

// failingFast is failing in a testing/synctest bubble: whatever is waited for in vain takes
// no time, and what takes long on a busy machine is not too late.
func failingFast(t *testing.T, test func(t testing.TB)) (failure string) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { failure = failing(test) })
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
