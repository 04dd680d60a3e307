package delivery

import (
	"context"
	"time"
)

// Reserve returns a context that ends before the deadline of ctx, so that the caller has time for
// what follows. It reserves a quarter of the remaining time, but at most one second. If ctx has no
// deadline, Reserve returns ctx.
func Reserve(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Second, max(0, time.Until(deadline))/4)))
}
