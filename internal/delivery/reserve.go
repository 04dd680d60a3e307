package delivery

import (
	"context"
	"time"
)

// Reserve returns a context that ends a quarter of the remaining time before ctx, but at most one
// second before. The caller uses the reserved time for what follows.
func Reserve(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Second, max(0, time.Until(deadline))/4)))
}
