package rpc

import (
	"context"
	"time"
)

// await returns false when ctx ends first. For the call's own context, which no
// interceptor has wrapped, it uses a timer that is used again, since making a
// context with a deadline costs more than the rest of a call.
func (c *Client) await(ctx context.Context, p *pending) (ending, bool) {
	select {
	case end := <-p.done:
		return end, true
	default:
	}
	own, ok := ctx.(*lazyContext)
	if !ok {
		select {
		case end := <-p.done:
			return end, true
		case <-ctx.Done():
			return ending{}, false
		}
	}
	var expired <-chan time.Time
	if !own.deadline.IsZero() {
		t, ok := c.timers.Get().(*time.Timer)
		if d := time.Until(own.deadline); ok {
			t.Reset(d)
		} else {
			t = time.NewTimer(d)
		}
		defer func() { t.Stop(); c.timers.Put(t) }()
		expired = t.C
	}
	select {
	case end := <-p.done:
		return end, true
	case <-own.Context.Done():
	case <-expired:
	}
	return ending{}, false
}

// ended is the error of a call whose context has.
func (c *Client) ended(ctx context.Context, doing string) *Error {
	if c.closing.Err() != nil {
		return errClosed
	}
	return contextError(ctx, doing)
}
