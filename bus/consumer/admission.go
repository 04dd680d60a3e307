package consumer

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/internal/delivery"
)

// admission returns the function that the subscription of a stage calls before each handler
// call. The function waits until copies in a retry topic are due, the consumer is not paused,
// and the rate limit allows the messages.
func (c *Consumer) admission(stage int) func(context.Context, delivery.AdmissionRequest) error {
	return func(ctx context.Context, r delivery.AdmissionRequest) error {
		if stage > 0 {
			if err := c.waitUntilDue(ctx, r, c.cfg.retryDelays[stage-1]); err != nil {
				return err
			}
		}
		if err := c.pause.wait(ctx, r.Draining); err != nil {
			return err
		}
		if c.limiter == nil {
			return nil
		}
		for left := len(r.Records); left > 0; { // WaitN allows no more than the burst at once
			n := min(left, c.cfg.burst)
			if err := c.limiter.WaitN(ctx, n); err != nil {
				return err
			}
			left -= n
		}
		return c.pause.wait(ctx, r.Draining) // Pause may have been called during WaitN
	}
}

// waitUntilDue waits until all records of this group are due, but not longer than the delay of
// the retry topic. A header with a later time is forged or comes from another configuration.
func (c *Consumer) waitUntilDue(ctx context.Context, r delivery.AdmissionRequest, delay time.Duration) error {
	var due time.Time
	for _, rec := range r.Records {
		if c.ofOtherGroup(rec) {
			continue
		}
		if t := dueTime(rec); t.After(due) {
			due = t
		}
	}
	wait := min(time.Until(due), delay)
	if due.IsZero() || wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Draining:
		return errPaused
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
