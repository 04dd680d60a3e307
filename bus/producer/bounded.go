package producer

import (
	"context"
	"sync"
	"time"
)

// bounded is a message's context: the caller's, with the deadline that the producer
// gives it, and the end of the producer. It costs nothing until somebody waits for its
// end, which for most messages nobody does.
type bounded struct {
	context.Context                 // the caller's
	life            context.Context // the producer's
	deadline        time.Time       // zero when the caller's context has one, or there is none

	mu     sync.Mutex
	merged context.Context // made by the first Done
	cancel context.CancelFunc
	stop   func() bool // of the end with life
}

// Deadline returns the earlier of both.
func (c *bounded) Deadline() (time.Time, bool) {
	if !c.deadline.IsZero() {
		return c.deadline, true
	}
	return c.Context.Deadline()
}

// Done makes the plain context that ends with any of them.
func (c *bounded) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.merged == nil {
		if c.deadline.IsZero() {
			c.merged, c.cancel = context.WithCancel(c.Context)
		} else {
			c.merged, c.cancel = context.WithDeadline(c.Context, c.deadline)
		}
		c.stop = context.AfterFunc(c.life, c.cancel)
	}
	return c.merged.Done()
}

// Err looks at all of them.
func (c *bounded) Err() error {
	c.mu.Lock()
	merged := c.merged
	c.mu.Unlock()
	switch {
	case merged != nil:
		return merged.Err()
	case c.Context.Err() != nil:
		return c.Context.Err()
	case c.life.Err() != nil:
		return context.Canceled
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// release frees what Done has made. Nobody needs the context any more.
func (c *bounded) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.stop()
		c.cancel()
	}
}
