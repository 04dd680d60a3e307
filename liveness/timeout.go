package liveness

import (
	"context"
	"sync"
	"time"
)

const (
	// maxTimeoutFactor limits a ping to this multiple of the ping time-out.
	maxTimeoutFactor = 2
	// timeoutSteps is the number of steps of the ping time-out.
	timeoutSteps = 20
)

// withPingTimeout returns a context that ends after d, or later if this process is short
// of CPU. It counts the time in steps, and a step that comes late counts as one step. A
// ping passes through several goroutines. If they wait for the CPU, the steps come late,
// too, so this wait does not look like a silent broker. The context ends after
// maxTimeoutFactor times d in any case. In both cases its cause is
// context.DeadlineExceeded.
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
