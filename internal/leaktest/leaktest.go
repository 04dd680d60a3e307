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

// Main is a TestMain: it runs the tests, and fails when goroutines are left. It is
// [goleak.VerifyTestMain] with more time: that gives up after less than half a second, which
// is little on a busy machine.
func Main(m *testing.M, opts ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := find(patience, opts...); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// find waits until there is nothing to be found.
func find(patience time.Duration, opts ...goleak.Option) error {
	for deadline := time.Now().Add(patience); ; {
		err := goleak.Find(opts...) // which waits a little itself
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
