package bus

import (
	"context"
	"sync"
	"time"
)

// deadlineContext bounds a context that has no deadline by a time-out, which begins
// when somebody first waits for it, or asks for the deadline. Most messages have their
// outcome before anybody does, and so cost neither a timer nor a look at the clock.
type deadlineContext struct {
	context.Context               // the caller's
	timeout         time.Duration // 0 when the caller's has a deadline of its own

	mu     sync.Mutex
	timed  context.Context // made by the first Done or Deadline
	cancel context.CancelFunc
}

// newDeadline bounds ctx by d, unless it has a deadline of its own.
func newDeadline(ctx context.Context, d time.Duration) *deadlineContext {
	c := &deadlineContext{}
	c.set(ctx, d)
	return c
}

// set makes it ctx, bounded by d unless ctx has a deadline of its own. It comes before
// everything else.
func (c *deadlineContext) set(ctx context.Context, d time.Duration) {
	c.Context, c.timeout = ctx, 0
	if _, ok := ctx.Deadline(); !ok {
		c.timeout = d
	}
}

// Deadline begins the time-out.
func (c *deadlineContext) Deadline() (time.Time, bool) { return c.start().Deadline() }

// Done begins the time-out.
func (c *deadlineContext) Done() <-chan struct{} { return c.start().Done() }

// start begins the time-out and returns the plain context that has it.
func (c *deadlineContext) start() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.timed != nil:
	case c.timeout == 0:
		c.timed = c.Context
	default:
		c.timed, c.cancel = context.WithTimeout(c.Context, c.timeout)
	}
	return c.timed
}

// Err is nil until the time-out has begun, unless the caller's context has ended.
func (c *deadlineContext) Err() error {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Err()
	}
	return c.Context.Err()
}

// release stops the timer. The context must not be needed any more. It returns true
// when nobody has waited for it: then it may be set again.
func (c *deadlineContext) release() bool {
	c.mu.Lock()
	timed, cancel := c.timed, c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	return timed == nil
}

// waitedFor says whether somebody has waited for it.
func (c *deadlineContext) waitedFor() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timed != nil
}
