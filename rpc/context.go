package rpc

import (
	"context"
	"sync"
	"time"
)

// CallInfo tells a handler about the call it answers. It must not be changed.
type CallInfo struct {
	// Topic is where the request was read, Method what it asks for, Key its key.
	Topic, Method, Key string
	// Caller is the id of the calling instance; with ID it is unique.
	Caller, ID string
	// IdempotencyKey is the caller's, which makes equal requests one; "" for none.
	IdempotencyKey string
	// Attempt is 1 for the first sending of the request. Redelivery by the transport
	// does not change it.
	Attempt int
	// Deadline is when the caller stops waiting; zero for never.
	Deadline time.Time
	// Metadata is what travels beside the request. It may be nil.
	Metadata Metadata
}

// FromContext returns what is known of the call a handler answers; false outside a
// handler. The handler's context ends at the call's deadline, when the request's
// partition is taken away, and when the server is stopped for good.
func FromContext(ctx context.Context) (*CallInfo, bool) {
	info, ok := ctx.Value(infoKey{}).(*CallInfo)
	return info, ok
}

type infoKey struct{}

// lazyContext is a context with a deadline, and with a second parent, that makes
// neither timer nor goroutine before somebody waits for it: most calls end first.
type lazyContext struct {
	context.Context                 // the parent
	also            context.Context // ends it too; nil for none
	deadline        time.Time       // zero for the parent's
	call            *exchange       // that a handler answers; nil for none

	mu     sync.Mutex
	real   context.Context // made by the first Done
	cancel func(cause error)
	ended  bool
	cause  error // why it ended; nil is context.Canceled
}

// Deadline returns the earlier one of its own and the parent's deadline.
func (c *lazyContext) Deadline() (time.Time, bool) {
	d, ok := c.Context.Deadline()
	if c.deadline.IsZero() || ok && d.Before(c.deadline) {
		return d, ok
	}
	return c.deadline, true
}

// Done begins to watch both parents and the clock.
func (c *lazyContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil {
		c.start()
	}
	return c.real.Done()
}

func (c *lazyContext) start() {
	ctx, cancel := context.WithCancelCause(c.Context)
	stop := func() {}
	if !c.deadline.IsZero() {
		ctx, stop = context.WithDeadline(ctx, c.deadline)
	}
	unwatch := func() bool { return true }
	switch {
	case c.also == nil:
	case c.also.Err() != nil:
		cancel(context.Cause(c.also))
	default:
		unwatch = context.AfterFunc(c.also, func() { cancel(context.Cause(c.also)) })
	}
	c.real = ctx
	c.cancel = func(cause error) { cancel(cause); unwatch(); stop() }
	if c.ended {
		c.cancel(c.cause)
	}
}

// Err says whether it has ended, watched or not. Once it has, it is watched, so that
// Done and context.Cause agree.
func (c *lazyContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil {
		over := c.ended || c.Context.Err() != nil || c.also != nil && c.also.Err() != nil ||
			!c.deadline.IsZero() && !time.Now().Before(c.deadline)
		if !over {
			return nil
		}
		c.start()
	}
	if c.real.Err() == nil && (c.Context.Err() != nil || c.also != nil && c.also.Err() != nil) {
		<-c.real.Done() // a parent's end is on its way here; who saw it there must not be told otherwise
	}
	return c.real.Err()
}

// Value asks the watching context, which knows what package context keeps in there.
func (c *lazyContext) Value(key any) any {
	if c.call != nil && key == (infoKey{}) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.call.callInfo()
	}
	c.mu.Lock()
	ctx := c.real
	c.mu.Unlock()
	if ctx == nil {
		ctx = c.Context
	}
	return ctx.Value(key)
}

// end ends it, like a CancelFunc.
func (c *lazyContext) end() { c.endWith(nil) }

// endWith ends it, unless it has ended, with a cause for context.Cause.
func (c *lazyContext) endWith(cause error) {
	c.mu.Lock()
	if !c.ended {
		c.ended, c.cause = true, cause
	}
	cause, cancel := c.cause, c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
}
