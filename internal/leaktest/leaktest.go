// Package leaktest finds the goroutines that a package's tests leave behind.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines that are ending have for it.
const patience = 20 * time.Second

// Main is a TestMain: it runs the tests, and fails when goroutines are left.
func Main(m *testing.M, opts ...goleak.Option) { os.Exit(Run(m, opts...)) }

// Run is Main for a TestMain that has more to do: it returns the exit code.
func Run(m *testing.M, opts ...goleak.Option) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := Find(opts...); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines are left:", err)
		return 1
	}
	return 0
}

// Find is [goleak.Find] with more time: that gives up after less than half a second, which
// is little on a busy machine. It leaves out what sarama has that ends with nothing: the
// goroutine of its metrics, one for the process, and that of a producer's circuit breaker,
// which sleeps for ten seconds once it has opened.
func Find(opts ...goleak.Option) error { return find(patience, opts...) }

// Test has t fail when goroutines are left at its end, after the cleanups that come later,
// that are not there now.
func Test(t testing.TB) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := Find(before); err != nil {
			t.Error(err)
		}
	})
}

func find(patience time.Duration, opts ...goleak.Option) error {
	opts = append(opts,
		goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
	for deadline := time.Now().Add(patience); ; {
		err := goleak.Find(opts...) // which waits a little itself
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
