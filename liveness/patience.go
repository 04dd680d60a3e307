package liveness

import (
	"context"
	"sync"
	"time"
)

const (
	// maxPatience times the probe time-out is the most that a probe is given.
	maxPatience = 2
	// patienceSteps is how many steps the probe time-out is counted in.
	patienceSteps = 20
)

// withPatience returns a context that ends after d, or later if this process is
// short of CPU: the time is counted in steps, and a step that comes late counts as
// one. A probe passes through a handful of goroutines, and each of them waits for
// the CPU as the steps do; that wait is not the broker's fault. It ends after
// maxPatience times d in any case. In both cases its cause is
// context.DeadlineExceeded.
func withPatience(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeout(ctx, maxPatience*d)
	ctx, cancel := context.WithCancelCause(ctx)
	step := max(d/patienceSteps, 1)

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
