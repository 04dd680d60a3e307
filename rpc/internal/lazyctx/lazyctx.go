// Package lazyctx provides a context with a deadline and two parents. It starts no timer
// and no goroutine before its Done method is called. Most calls end before that.
package lazyctx

import (
	"context"
	"sync"
	"time"
)

// Context is a [context.Context]. Set the exported fields before first use, and call End
// when the work under it has ended. Its methods are safe for concurrent use.
type Context struct {
	context.Context                 // the parent
	Also            context.Context // a second parent, whose end ends this context too; nil for none
	Until           time.Time       // the deadline; zero for the parent's

	mu      sync.Mutex
	watched context.Context // watches parents and deadline; made on first need
	cancel  func(cause error)
	ended   bool  // End or EndWith was called
	cause   error // of EndWith; nil stands for context.Canceled
}

// Deadline returns the earlier of Until and the parent's deadline.
func (c *Context) Deadline() (time.Time, bool) {
	d, ok := c.Context.Deadline()
	if c.Until.IsZero() || ok && d.Before(c.Until) {
		return d, ok
	}
	return c.Until, true
}

// Done implements context.Context. The first call starts to watch both parents and the
// deadline.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched == nil {
		c.watch()
	}
	return c.watched.Done()
}

// watch makes c.watched, which ends with the parents and at the deadline. c.mu is held.
func (c *Context) watch() {
	ctx, cancel := context.WithCancelCause(c.Context)
	stopTimer := func() {}
	if !c.Until.IsZero() {
		ctx, stopTimer = context.WithDeadline(ctx, c.Until)
	}
	unwatch := func() bool { return true }
	switch {
	case c.Also == nil:
	case c.Also.Err() != nil:
		cancel(context.Cause(c.Also))
	default:
		unwatch = context.AfterFunc(c.Also, func() { cancel(context.Cause(c.Also)) })
	}
	c.watched = ctx
	c.cancel = func(cause error) { cancel(cause); unwatch(); stopTimer() }
	if c.ended {
		c.cancel(c.cause)
	}
}

// Err implements context.Context. If the context has ended, Err makes c.watched, so that
// Done and context.Cause agree with Err.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched == nil {
		if !c.ended && !c.parentEnded() && (c.Until.IsZero() || time.Now().Before(c.Until)) {
			return nil
		}
		c.watch()
	}
	if c.watched.Err() == nil && c.parentEnded() {
		<-c.watched.Done() // wait until the end of the parent has reached c.watched, so that Err agrees with the parent
	}
	return c.watched.Err()
}

func (c *Context) parentEnded() bool {
	return c.Context.Err() != nil || c.Also != nil && c.Also.Err() != nil
}

// Value implements context.Context. It asks c.watched if there is one, because package
// context finds its own state through Value.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	ctx := c.watched
	c.mu.Unlock()
	if ctx == nil {
		ctx = c.Context
	}
	return ctx.Value(key)
}

// End ends the context, like a context.CancelFunc.
func (c *Context) End() { c.EndWith(nil) }

// EndWith ends the context with a cause for context.Cause, unless End or EndWith was
// called before.
func (c *Context) EndWith(cause error) {
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
