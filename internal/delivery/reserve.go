package delivery

import (
	"context"
	"time"
)

// Reserve returns a context that ends before ctx does, so that time is left for what
// follows: a quarter of the remaining time, at most a second.
func Reserve(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Second, max(0, time.Until(deadline))/4)))
}
