package rpc

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/rpc/internal/lazyctx"
)

// await waits for the result of p, and returns false if ctx ends first. Calling Done on a
// context with a deadline costs more than the rest of a call. Therefore await uses a pooled
// timer instead, unless an interceptor has wrapped the context of the call.
func (c *Client) await(ctx context.Context, p *pendingCall) (result, bool) {
	select {
	case r := <-p.done:
		return r, true
	default:
	}
	own, ok := ctx.(*lazyctx.Context)
	if !ok {
		select {
		case r := <-p.done:
			return r, true
		case <-ctx.Done():
			return result{}, false
		}
	}
	var expired <-chan time.Time
	if !own.Until.IsZero() {
		t, ok := c.timers.Get().(*time.Timer)
		if d := time.Until(own.Until); ok {
			t.Reset(d)
		} else {
			t = time.NewTimer(d)
		}
		defer func() { t.Stop(); c.timers.Put(t) }()
		expired = t.C
	}
	select {
	case r := <-p.done:
		return r, true
	case <-own.Context.Done():
	case <-expired:
	}
	return result{}, false
}

// contextError returns the error of a call whose context has ended.
func (c *Client) contextError(ctx context.Context, what string) *Error {
	if c.closing.Err() != nil {
		return errClosed
	}
	return contextError(ctx, what)
}
