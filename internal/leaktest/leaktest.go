// Package leaktest fails tests that leave goroutines running.
//
// Each package has a TestMain that checks after all its tests:
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// timeout is how long Find waits for goroutines to end.
const timeout = 20 * time.Second

// Main is the body of a TestMain. It runs the tests, checks that no goroutine still runs, and
// exits.
func Main(m *testing.M, opts ...goleak.Option) { os.Exit(Run(m, opts...)) }

// Run is Main for a TestMain that does something after the tests. It returns the exit code.
func Run(m *testing.M, opts ...goleak.Option) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := Find(opts...); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines are still running after the tests:", err)
		return 1
	}
	return 0
}

// Find returns an error if goroutines other than that of the caller are running. It waits up to
// 20 seconds for them to end. [goleak.Find] waits less than half a second, which is too short
// on a busy machine.
//
// Find ignores two kinds of goroutines that sarama does not end when a client is closed. One
// updates metrics; a process has at most one of it. The other belongs to the circuit breaker of
// a producer, and sleeps for ten seconds after the breaker has opened.
func Find(opts ...goleak.Option) error { return find(timeout, opts...) }

// Test makes t fail if goroutines that t started are running at its end. The check runs
// after all cleanups that t registers after the call of Test.
func Test(t testing.TB) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := Find(before); err != nil {
			t.Error(err)
		}
	})
}

func find(timeout time.Duration, opts ...goleak.Option) error {
	opts = append(opts,
		goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
	for deadline := time.Now().Add(timeout); ; {
		err := goleak.Find(opts...) // waits up to half a second
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
