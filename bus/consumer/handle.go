package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
)

// messageHandler returns the handler of a stage's subscription. It calls the program's handler
// and applies the failure policy.
func (c *Consumer) messageHandler(stage int) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		if stage > 0 && c.ofOtherGroup(d.Record) {
			return nil // the consumer of that group handles it
		}
		begun := c.counters.begin(1)
		err := c.call(ctx, d.Record, func(ctx context.Context) error {
			d.Context = ctx
			return c.handler(ctx, d)
		})
		c.counters.end(begun, d.Record, d.Attempt, 1, err)
		return c.applyPolicy(ctx, d, stage, err)
	}
}

// batchHandler is messageHandler for batches.
func (c *Consumer) batchHandler(stage int) bus.BatchHandler {
	return func(ctx context.Context, ds []*bus.Delivery) error {
		batch, indexes := ds, make([]int, 0, len(ds)) // batch[i] is ds[indexes[i]]
		for i, d := range ds {
			if stage == 0 || !c.ofOtherGroup(d.Record) {
				indexes = append(indexes, i)
			}
		}
		if len(indexes) == 0 {
			return nil
		}
		ds = slices.Clone(ds) // the handler may change the slice that it gets
		if len(indexes) < len(ds) {
			batch = make([]*bus.Delivery, len(indexes))
			for i, index := range indexes {
				batch[i] = ds[index]
			}
		}
		first := ds[indexes[0]]
		begun := c.counters.begin(len(indexes))
		err := c.call(ctx, first.Record, func(ctx context.Context) error { return c.batch(ctx, batch) })
		c.counters.end(begun, first.Record, first.Attempt, len(indexes), err)
		var failed bus.BatchError
		for i, e := range delivery.BatchErrors(err, len(indexes)) {
			failed.Add(indexes[i], c.applyPolicy(ctx, ds[indexes[i]], stage, e))
		}
		return failed.Err()
	}
}

// call calls a handler with the handler timeout, and turns a panic into an error.
func (c *Consumer) call(ctx context.Context, first *bus.Record, handle func(context.Context) error) (err error) {
	outer := ctx
	if d := c.cfg.handlerTimeout; d > 0 {
		timedOut := &bus.Error{Code: bus.CodeDeadlineExceeded, Op: "handle", Topic: first.Topic, Reason: fmt.Sprintf("the handler did not return within the handler timeout of %v", d)}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, timedOut)
		defer cancel()
		defer func() {
			if a, _ := delivery.AnswerOf(err); a == delivery.Nack && ctx.Err() != nil && outer.Err() == nil {
				err = fmt.Errorf("%w: %w", timedOut, err)
			}
		}()
	}
	defer func() {
		if p := recover(); p != nil {
			c.cfg.logger.Error("handler panicked", "topic", first.Topic, "partition", first.Partition, "offset", first.Offset,
				"panic", p, "stack", string(debug.Stack()))
			err = &bus.Error{Code: bus.CodeInternal, Op: "handle", Topic: first.Topic, Reason: fmt.Sprintf("the handler panicked: %v", p)}
		}
	}()
	return handle(ctx)
}

// applyPolicy counts the result of a message and applies the failure policy. The bus acts on
// the error that it returns.
func (c *Consumer) applyPolicy(ctx context.Context, d *bus.Delivery, stage int, err error) error {
	answer, cause := delivery.AnswerOf(err)
	switch answer {
	case delivery.Ack:
		c.counters.handled.Add(1)
		c.blocked.remove(d.Record)
		return nil
	case delivery.Drop:
		c.counters.dropped.Add(1)
		c.blocked.remove(d.Record)
		return err
	case delivery.Retry:
		c.counters.retried.Add(1)
		return err
	case delivery.Stop:
		return err
	case delivery.DeadLetter:
		c.counters.failed.Add(1)
		if c.cfg.deadLetterTopic != "" {
			return err
		}
	case delivery.Nack:
		if ctx.Err() != nil { // the partition was revoked; its next owner counts attempts from 1
			c.counters.interrupted.Add(1)
			return err
		}
		c.counters.failed.Add(1)
		if d.Attempt < c.cfg.attempts {
			c.counters.retried.Add(1)
			return err
		}
		if stage < len(c.cfg.retryDelays) {
			if err := c.postpone(ctx, d, stage, err); err != nil {
				c.counters.retried.Add(1)
				return err
			}
			c.counters.postponed.Add(1)
			// The bus acknowledges the message and passes the cause to hooks.
			return &delivery.Control{Answer: delivery.Drop, RetryTopic: c.topicOf(stage + 1), Err: cause}
		}
		if c.cfg.deadLetterTopic != "" {
			return bus.DeadLetter(err)
		}
	}
	if cause == nil {
		cause = errors.New("the handler returned no cause")
	}
	c.counters.retried.Add(1)
	if c.blocked.add(ctx, d.Record) {
		c.cfg.logger.Warn("message blocked: it has failed and there is no dead-letter topic", "topic", d.Topic,
			"partition", d.Partition, "offset", d.Offset, "attempts", Attempts(d), "error", delivery.Shorten(cause.Error(), maxCauseBytes))
	}
	return cause
}
