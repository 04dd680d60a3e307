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

// oneHandler is what the bus is given for one topic: the user's handler, and the failure
// policy around it.
func (c *Consumer) oneHandler(hop int) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		if hop > 0 && c.foreign(d.Record) {
			return nil // its group has a consumer of its own
		}
		call := c.tally.begin(1)
		err := c.guard(ctx, d.Record, func(ctx context.Context) error {
			d.Context = ctx
			return c.handler(ctx, d)
		})
		c.observe(call, d.Record, d.Attempt, 1, err)
		return c.decide(ctx, d, hop, err)
	}
}

// batchHandler is oneHandler for batches.
func (c *Consumer) batchHandler(hop int) bus.BatchHandler {
	return func(ctx context.Context, ds []*bus.Delivery) error {
		given, places := ds, make([]int, 0, len(ds)) // places in ds of what the handler is given
		for i, d := range ds {
			if hop == 0 || !c.foreign(d.Record) {
				places = append(places, i)
			}
		}
		if len(places) == 0 {
			return nil // of other groups, all of them
		}
		ds = slices.Clone(ds) // the other is the handler's to change
		if len(places) < len(ds) {
			given = make([]*bus.Delivery, len(places))
			for i, place := range places {
				given[i] = ds[place]
			}
		}
		first := ds[places[0]]
		call := c.tally.begin(len(places))
		err := c.guard(ctx, first.Record, func(ctx context.Context) error { return c.batch(ctx, given) })
		c.observe(call, first.Record, first.Attempt, len(places), err)
		var failed bus.BatchError
		for i, e := range delivery.BatchErrors(err, len(places)) {
			failed.Add(places[i], c.decide(ctx, ds[places[i]], hop, e))
		}
		return failed.Err()
	}
}

// guard runs a handler within its time-out, and makes an error of a panic.
func (c *Consumer) guard(ctx context.Context, first *bus.Record, handle func(context.Context) error) (err error) {
	outer := ctx
	if d := c.cfg.handlerTimeout; d > 0 {
		tooLate := &bus.Error{Code: bus.CodeDeadlineExceeded, Op: "handle", Topic: first.Topic, Reason: fmt.Sprintf("the handler did not end within its time-out of %v", d)}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, tooLate)
		defer cancel()
		defer func() {
			if a, _ := delivery.AnswerOf(err); a == delivery.Nack && ctx.Err() != nil && outer.Err() == nil {
				err = fmt.Errorf("%w: %w", tooLate, err)
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

// decide applies the failure policy to what the handler said of a message, counts it,
// and returns what the bus is to do.
func (c *Consumer) decide(ctx context.Context, d *bus.Delivery, hop int, err error) error {
	answer, cause := delivery.AnswerOf(err)
	switch answer {
	case delivery.Ack:
		c.tally.handled.Add(1)
		c.blocked.unblock(d.Record)
		return nil
	case delivery.Drop:
		c.tally.dropped.Add(1)
		c.blocked.unblock(d.Record)
		return err
	case delivery.Retry:
		c.tally.retried.Add(1)
		return err
	case delivery.Stop:
		return err
	case delivery.DeadLetter:
		c.tally.failed.Add(1)
		if c.cfg.deadLetter != "" {
			return err
		}
	case delivery.Nack:
		if ctx.Err() != nil { // it was taken away; whoever gets it next tries from the start
			c.tally.interrupted.Add(1)
			return err
		}
		c.tally.failed.Add(1)
		if d.Attempt < c.cfg.retry.Attempts {
			c.tally.retried.Add(1)
			return err
		}
		if hop < len(c.cfg.delays) {
			if err := c.postpone(ctx, d, hop, err); err != nil {
				c.tally.retried.Add(1)
				return err
			}
			c.tally.postponed.Add(1)
			return bus.Drop(cause) // acknowledged, and observers see why
		}
		if c.cfg.deadLetter != "" {
			return bus.DeadLetter(err)
		}
	}
	c.tally.retried.Add(1)
	c.blocked.block(ctx, d.Record)
	if cause == nil {
		cause = errors.New("no cause was given")
	}
	return cause
}
