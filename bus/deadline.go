package bus

import (
	"context"
	"sync"
	"time"
)

// deadlineContext is a context with a deadline that costs a timer only when
// somebody waits for it. Most messages have their outcome before anybody does.
type deadlineContext struct {
	context.Context // the caller's
	deadline        time.Time

	mu     sync.Mutex
	timed  context.Context // made by the first Done
	cancel context.CancelFunc
}

// newDeadline bounds ctx by d, unless it has a deadline of its own.
func newDeadline(ctx context.Context, d time.Duration) *deadlineContext {
	c := &deadlineContext{}
	c.set(ctx, time.Now().Add(d))
	return c
}

// set makes it ctx, bounded by deadline unless ctx has one of its own. It comes
// before everything else.
func (c *deadlineContext) set(ctx context.Context, deadline time.Time) {
	c.Context, c.deadline = ctx, deadline
	if own, ok := ctx.Deadline(); ok {
		c.deadline = own
	}
}

// Deadline returns the caller's deadline, or that of the delivery time-out.
func (c *deadlineContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done starts the timer.
func (c *deadlineContext) Done() <-chan struct{} { return c.start().Done() }

// start starts the timer and returns the plain context that has it.
func (c *deadlineContext) start() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
	}
	return c.timed
}

// Err is DeadlineExceeded from the deadline on, timer or not.
func (c *deadlineContext) Err() error {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// release stops the timer. The context must not be needed any more.
func (c *deadlineContext) release() {
	c.mu.Lock()
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// waitedFor says whether somebody has waited for it.
func (c *deadlineContext) waitedFor() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timed != nil
}

// timer returns a timer that fires after d. The bus has timers of its own, so that a
// test's clock owns them.
func (b *Bus) timer(d time.Duration) *time.Timer {
	if t, ok := b.timers.Get().(*time.Timer); ok {
		t.Reset(d)
		return t
	}
	return time.NewTimer(d)
}

func (b *Bus) putTimer(t *time.Timer) {
	t.Stop()
	b.timers.Put(t)
}
