package liveness

import (
	"context"
	"sync"
	"time"
)

const (
	// maxTimeoutFactor times the ping time-out is the most time that a ping gets.
	maxTimeoutFactor = 2
	// timeoutSteps is the number of steps in which the ping time-out is counted.
	timeoutSteps = 20
)

// withPingTimeout returns a context that ends after d, or later if this process is short
// of CPU. It counts the time in steps, and a step that comes late counts as one step. A
// ping passes through a handful of goroutines, and each of them waits for the CPU as the
// steps do; that wait must not count against the broker. The context ends after
// maxTimeoutFactor times d in any case. Its cause is context.DeadlineExceeded both times.
func withPingTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeout(ctx, maxTimeoutFactor*d)
	ctx, cancel := context.WithCancelCause(ctx)
	step := max(d/timeoutSteps, 1)

	var mu sync.Mutex // the first step may come before timer is set
	mu.Lock()
	defer mu.Unlock()
	left := d
	var timer *time.Timer
	timer = time.AfterFunc(step, func() {
		mu.Lock()
		defer mu.Unlock()
		left -= step
		switch {
		case ctx.Err() != nil:
		case left <= 0:
			cancel(context.DeadlineExceeded)
		default:
			timer.Reset(min(step, left))
		}
	})
	return ctx, func() {
		cancel(context.Canceled)
		stop()
		timer.Stop()
	}
}
