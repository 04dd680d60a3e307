package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

// revokeFlush is how long the handler may take for the batch that was being collected when
// its partition was revoked. During this time the next owner of the partition waits.
const revokeFlush = 3 * time.Second

// readBatches collects batches and handles them, one at a time, until fetching ends or
// Fetch fails. It does all of this on the claim's goroutine.
func (c *claim) readBatches() {
	var rest []driver.Record // fetched, and not yet in a batch
	for {
		batch, err := c.collect(&rest)
		if len(batch) > 0 {
			ctx, cancel := c.flushContext()
			handled := c.handleBatch(ctx, batch)
			cancel()
			if !handled {
				return
			}
		}
		if err != nil {
			if c.engine.cfg.DrainFetched && c.fetching.Err() != nil && c.ctx.Err() == nil {
				c.batchFetched(rest)
			}
			c.fetchFailed(err)
			return
		}
		if len(rest) > 0 && rest[0].DecodeErr != nil {
			if _, more := c.handle(c.admitNext(&rest)); !more {
				return
			}
		}
	}
}

// batchFetched handles the records that were fetched before the subscription began to shut down.
// No other subscription would get them.
func (c *claim) batchFetched(rest []driver.Record) {
	rest = slices.Clone(rest) // the next Fetch may reuse its memory
	c.fetchRest(func(records []driver.Record) bool { rest = append(rest, records...); return true })
	for len(rest) > 0 {
		if rest[0].DecodeErr != nil {
			if _, more := c.handle(c.admitNext(&rest)); !more {
				return
			}
			continue
		}
		var batch []*Item
		for len(batch) < c.engine.cfg.Batch.Size && len(rest) > 0 && rest[0].DecodeErr == nil {
			batch = append(batch, c.admitNext(&rest))
		}
		if !c.handleBatch(c.ctx, batch) {
			return
		}
	}
}

// collect returns the next batch. The batch is complete when it has the batch size, when its oldest
// record has reached the batch age, or when the next record cannot be decoded. If Fetch fails or
// fetching ends, collect returns the incomplete batch and the error.
func (c *claim) collect(rest *[]driver.Record) (batch []*Item, err error) {
	cfg := c.engine.cfg.Batch
	var due time.Time
	for len(batch) < cfg.Size {
		if c.fetching.Err() != nil {
			return batch, context.Cause(c.fetching)
		}
		if len(*rest) == 0 {
			records, expired, err := c.fetchUntil(due)
			if expired {
				return batch, nil
			}
			if err != nil {
				return batch, err
			}
			*rest = records
		}
		if (*rest)[0].DecodeErr != nil {
			return batch, nil
		}
		if len(batch) == 0 {
			due = time.Now().Add(cfg.Age)
		}
		batch = append(batch, c.admitNext(rest))
	}
	return batch, nil
}

// fetchUntil calls Fetch, bounded by due unless due is zero. expired reports that Fetch failed
// because due has passed.
func (c *claim) fetchUntil(due time.Time) (records []driver.Record, expired bool, err error) {
	if due.IsZero() {
		records, err = c.part.Fetch(c.fetching)
		return records, false, err
	}
	ctx, cancel := context.WithDeadline(c.fetching, due)
	defer cancel()
	records, err = c.part.Fetch(ctx)
	expired = err != nil && ctx.Err() != nil && c.fetching.Err() == nil && c.part.Context().Err() == nil
	return records, expired, err
}

// admitNext admits the next record. It need not wait for space in the window: the window is as
// large as a batch, and the batch before is acknowledged.
func (c *claim) admitNext(rest *[]driver.Record) *Item {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.admitInline(&(*rest)[0])
	*rest = (*rest)[1:]
	return it
}

// flushContext returns the context for the next batch. That is the context of the handlers. If
// the partition has been revoked and can still be committed, it is a context that ends after
// revokeFlush.
func (c *claim) flushContext() (context.Context, context.CancelFunc) {
	part := c.part.Context() // the handlers' context ends with it, a moment later
	switch {
	case part.Err() == nil:
		return c.ctx, func() {}
	case c.engine.ctx.Err() == nil && driver.CodeOf(context.Cause(part)) == driver.CodeRevoked:
		return context.WithTimeoutCause(c.engine.ctx, revokeFlush, context.Cause(part))
	default:
		return part, func() {}
	}
}

// handleBatch delivers the batch until every record of it is acknowledged, and then returns true.
// It returns false if the claim or the subscription ends first. It makes the first attempt even if
// the subscription drains.
func (c *claim) handleBatch(ctx context.Context, batch []*Item) bool {
	if f := c.engine.inFlight; f != nil {
		n := int64(len(batch))
		if f.Acquire(ctx, n) != nil {
			return false
		}
		defer f.Release(n)
	}
	for _, it := range batch {
		if c.step(it, event{kind: begin, mayStart: ctx.Err() == nil}).do != doDeliver {
			return false
		}
	}
	for {
		left, pause, stop := c.settleBatch(ctx, batch, c.deliverBatch(ctx, batch))
		if stop != nil {
			c.engine.stop(stop)
			return false
		}
		if len(left) == 0 {
			return true
		}
		batch = left
		elapsed := c.pause(pause)
		for _, it := range batch {
			if c.step(it, event{kind: pauseEnded, mayStart: elapsed && ctx.Err() == nil && c.mayStart()}).do != doDeliver {
				return false
			}
		}
	}
}

// settleBatch acknowledges the records that were handled, and publishes dead letters. It returns
// the items to deliver again and the longest of their pauses. stop is not nil if the subscription
// must end.
func (c *claim) settleBatch(ctx context.Context, batch []*Item, errs []error) (left []*Item, pause time.Duration, stop error) {
	moved := false
	for i, it := range batch {
		a := c.step(it, event{kind: returned, err: errs[i]})
		if a.do == doDeadLetter {
			a = c.step(it, event{kind: deadLettered, err: c.deadLetter(ctx, it, a.cause)})
		}
		switch a.do {
		case doStop:
			stop = a.cause
		case doPause:
			left, pause = append(left, it), max(pause, a.pause)
		case doDone:
			moved = moved || a.moved
		}
	}
	if moved {
		c.commit.moved()
	}
	return left, pause, stop
}

// deliverBatch calls the handler once, and returns the result for each item.
func (c *claim) deliverBatch(ctx context.Context, batch []*Item) []error {
	cfg := &c.engine.cfg
	records := make([]*driver.Record, len(batch))
	for i, it := range batch {
		records[i] = &it.record
	}
	if cfg.Admit != nil {
		if err := cfg.Admit(ctx, AdmissionRequest{Records: records, Draining: c.engine.draining}); err != nil {
			return BatchErrors(err, len(batch))
		}
	}
	if s := c.engine.slots; s != nil {
		select {
		case s <- struct{}{}:
			defer func() { <-s }()
		case <-ctx.Done():
			return BatchErrors(context.Cause(ctx), len(batch))
		}
	}
	for _, it := range batch {
		var own context.Context
		own, it.end = cfg.Observers.traceDelivery(ctx, hook.DeliveryStart{Transport: cfg.Caps.Name, Group: cfg.Group, Record: &it.record, Attempt: it.attempt})
		it.deliver(own)
	}
	begun := time.Now()
	errs := c.callBatch(ctx, batch)
	for i, it := range batch {
		it.begun = begun
		c.report(it, errs[i])
	}
	return errs
}

// callBatch calls the handler, and turns a panic into an error of each item.
func (c *claim) callBatch(ctx context.Context, batch []*Item) (errs []error) {
	defer func() {
		if p := recover(); p != nil {
			errs = BatchErrors(c.panicked(&batch[0].record, len(batch), p), len(batch))
		}
	}()
	return c.engine.cfg.HandleBatch(ctx, batch)
}
