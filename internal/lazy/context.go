// Package lazy has a context that starts the timer of its time-out only when it is needed.
package lazy

import (
	"context"
	"sync"
	"time"
)

// Context is a context whose time-out begins when Done or Deadline is first called. Most
// operations are complete before anything waits for them, so they need no timer and do not read
// the clock.
type Context struct {
	context.Context               // the parent
	timeout         time.Duration // 0: the deadline of the parent applies

	mu     sync.Mutex
	timed  context.Context // made by the first Done or Deadline
	cancel context.CancelFunc
}

// Bounded returns ctx bounded by d, unless ctx has a deadline.
func Bounded(ctx context.Context, d time.Duration) *Context {
	c := &Context{}
	c.Bound(ctx, d)
	return c
}

// WithTimeout returns ctx bounded by d.
func WithTimeout(ctx context.Context, d time.Duration) *Context {
	return &Context{Context: ctx, timeout: d}
}

// Bound sets the parent of c to ctx, and its time-out to d unless ctx has a deadline. It must be
// called before any other method. It may be called again after Release has returned true.
func (c *Context) Bound(ctx context.Context, d time.Duration) {
	c.Context, c.timeout = ctx, 0
	if _, ok := ctx.Deadline(); !ok {
		c.timeout = d
	}
}

// Timeout returns the time-out; 0 if the deadline of the parent applies.
func (c *Context) Timeout() time.Duration { return c.timeout }

// Deadline begins the time-out, and returns its deadline.
func (c *Context) Deadline() (time.Time, bool) { return c.Start().Deadline() }

// Done begins the time-out, and returns a channel that is closed when the context ends.
func (c *Context) Done() <-chan struct{} { return c.Start().Done() }

// Start begins the time-out, and returns an ordinary context that has it.
func (c *Context) Start() context.Context {
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

// Err returns the error of the context. It does not begin the time-out: until Done or Deadline is
// called, Err returns the error of the parent.
func (c *Context) Err() error {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Err()
	}
	return c.Context.Err()
}

// Release stops the timer. The context must not be used afterwards. Release returns true if
// the time-out never began; only then Bound may be called again.
func (c *Context) Release() bool {
	c.mu.Lock()
	timed, cancel := c.timed, c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	return timed == nil
}

// Started reports whether the time-out has begun.
func (c *Context) Started() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timed != nil
}
