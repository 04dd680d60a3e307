package consumer

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/internal/delivery"
)

// admission is asked before each delivery of a subscription: it waits until copies in a
// retry topic are due, the consumer is not paused, and the rate allows it.
func (c *Consumer) admission(hop int) func(context.Context, delivery.AdmissionRequest) error {
	return func(ctx context.Context, r delivery.AdmissionRequest) error {
		if hop > 0 {
			if err := c.untilDue(ctx, r); err != nil {
				return err
			}
		}
		if err := c.gate.pass(ctx, r.Draining); err != nil {
			return err
		}
		if c.limiter == nil {
			return nil
		}
		for left := len(r.Records); left > 0; {
			n := min(left, c.cfg.burst)
			if err := c.limiter.WaitN(ctx, n); err != nil {
				return err
			}
			left -= n
		}
		return c.gate.pass(ctx, r.Draining) // it may have been paused meanwhile
	}
}

// untilDue waits for the last of the records to be due.
func (c *Consumer) untilDue(ctx context.Context, r delivery.AdmissionRequest) error {
	var due time.Time
	for _, rec := range r.Records {
		if c.foreign(rec) {
			continue
		}
		if t := dueOf(rec); t.After(due) {
			due = t
		}
	}
	wait := time.Until(due)
	if due.IsZero() || wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Draining:
		return errHeldBack
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
