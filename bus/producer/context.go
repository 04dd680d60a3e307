package producer

import (
	"context"
	"sync"
	"time"
)

// messageContext is the context that the transport gets for a message. It ends when the
// caller's context ends, at the deadline that the producer sets, or when the producer ends.
// Its values are those of the caller's context. To save memory, it creates a merged context
// only when Done is called. For most messages nothing calls Done.
type messageContext struct {
	context.Context                 // the caller's context
	producer        context.Context // ends with the producer
	deadline        time.Time       // set by the producer; zero if the caller's context has one, or if there is no limit

	mu     sync.Mutex
	merged context.Context // created by the first Done
	cancel context.CancelFunc
	stop   func() bool // removes the callback for the end of producer
}

// Deadline returns the deadline set by the producer, or else the caller's.
func (c *messageContext) Deadline() (time.Time, bool) {
	if !c.deadline.IsZero() {
		return c.deadline, true
	}
	return c.Context.Deadline()
}

// Done creates the merged context on its first call.
func (c *messageContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.merged == nil {
		if c.deadline.IsZero() {
			c.merged, c.cancel = context.WithCancel(c.Context)
		} else {
			c.merged, c.cancel = context.WithDeadline(c.Context, c.deadline)
		}
		c.stop = context.AfterFunc(c.producer, c.cancel)
	}
	return c.merged.Done()
}

// Err checks the caller's context, the producer's and the deadline. It does not create the
// merged context.
func (c *messageContext) Err() error {
	c.mu.Lock()
	merged := c.merged
	c.mu.Unlock()
	switch {
	case merged != nil:
		return merged.Err()
	case c.Context.Err() != nil:
		return c.Context.Err()
	case c.producer.Err() != nil:
		return context.Canceled
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// release frees the context that Done has created. The context must not be used afterwards.
func (c *messageContext) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.stop()
		c.cancel()
	}
}
