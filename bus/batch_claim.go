package bus

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// revokeFlush is how long the handler may take for the batch that was being collected
// when its partition was taken away: whoever has it next waits meanwhile.
const revokeFlush = 3 * time.Second

// readBatches collects batches and hands them over, one at a time, until fetching ends
// or Fetch fails. All of it is on the claim's goroutine.
func (c *claim) readBatches() {
	var rest []Record // fetched, in no batch yet
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
			if c.sub.cfg.handOutOnDrain && c.fetching.Err() != nil && c.ctx.Err() == nil {
				c.handOutRest(rest)
			}
			c.fetchFailed(err)
			return
		}
		if len(rest) > 0 && rest[0].DecodeErr != nil {
			if _, acked := c.handle(c.admitNext(&rest)); !acked {
				return
			}
		}
	}
}

// handOutRest hands over what was fetched when the subscription was closed, and would be
// lost.
func (c *claim) handOutRest(rest []Record) {
	rest = slices.Clone(rest) // the next Fetch uses its memory again
	c.fetchRest(func(recs []Record) bool { rest = append(rest, recs...); return true })
	for len(rest) > 0 {
		if rest[0].DecodeErr != nil {
			if _, acked := c.handle(c.admitNext(&rest)); !acked {
				return
			}
			continue
		}
		var batch []*entry
		for len(batch) < c.sub.cfg.batch.size && len(rest) > 0 && rest[0].DecodeErr == nil {
			batch = append(batch, c.admitNext(&rest))
		}
		if !c.handleBatch(c.ctx, batch) {
			return
		}
	}
}

// collect returns the next batch: as many records as it may have, or those that came
// before the oldest was too old, before one that can't be decoded, or before Fetch
// failed, which is the error.
func (c *claim) collect(rest *[]Record) (batch []*entry, err error) {
	cfg := c.sub.cfg.batch
	var due time.Time
	for len(batch) < cfg.size {
		if c.fetching.Err() != nil {
			return batch, context.Cause(c.fetching)
		}
		if len(*rest) == 0 {
			recs, aged, err := c.fetchUntil(due)
			if aged {
				return batch, nil
			}
			if err != nil {
				return batch, err
			}
			*rest = recs
		}
		if (*rest)[0].DecodeErr != nil {
			return batch, nil
		}
		if len(batch) == 0 {
			due = time.Now().Add(cfg.age)
		}
		batch = append(batch, c.admitNext(rest))
	}
	return batch, nil
}

// fetchUntil is Fetch, until due unless that is zero. aged says that it is past.
func (c *claim) fetchUntil(due time.Time) (recs []Record, aged bool, err error) {
	if due.IsZero() {
		recs, err = c.part.Fetch(c.fetching)
		return recs, false, err
	}
	ctx, cancel := context.WithDeadline(c.fetching, due)
	defer cancel()
	recs, err = c.part.Fetch(ctx)
	aged = err != nil && ctx.Err() != nil && c.fetching.Err() == nil && c.part.Context().Err() == nil
	return recs, aged, err
}

// admitNext puts the next record under the window's watch. There is room: a batch is
// no larger, and the one before is acknowledged.
func (c *claim) admitNext(rest *[]Record) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.window.admit(&(*rest)[0])
	*rest = (*rest)[1:]
	return e
}

// flushContext returns the context for the next batch: the handlers', or, when the
// partition was just taken away and may still be committed, one that gives it time.
func (c *claim) flushContext() (context.Context, context.CancelFunc) {
	part := c.part.Context() // the handlers' ends with it, a moment later
	switch {
	case part.Err() == nil:
		return c.ctx, func() {}
	case c.sub.ctx.Err() == nil && CodeOf(context.Cause(part)) == CodeRevoked:
		return context.WithTimeoutCause(c.sub.ctx, revokeFlush, context.Cause(part))
	default:
		return part, func() {}
	}
}

// handleBatch delivers the batch until every message of it is acknowledged, and returns
// true then; false when the claim or the subscription ends first. A batch that was
// collected is begun, even if the subscription is drained meanwhile.
func (c *claim) handleBatch(ctx context.Context, batch []*entry) bool {
	if f := c.sub.inFlight; f != nil {
		n := len(batch)
		if !f.take(ctx, n) {
			return false
		}
		defer f.give(n)
	}
	pause := newBackoff(c.sub.cfg.minBackoff, c.sub.cfg.maxBackoff)
	for attempt := 1; ctx.Err() == nil && (attempt == 1 || c.mayBegin()); attempt++ {
		s := c.settle(ctx, batch, c.deliverBatch(ctx, batch, attempt))
		if s.stop != nil {
			c.sub.cancel(s.stop)
			return false
		}
		if len(s.left) == 0 {
			return true
		}
		batch = s.left
		if s.backOff {
			s.after = max(s.after, pause.next())
		}
		if !c.rest(s.after) {
			return false
		}
	}
	return false
}

// settled is what one delivery of a batch came to.
type settled struct {
	left    []*entry      // to be delivered again
	after   time.Duration // not before this, as Retry asked
	backOff bool          // one of them did not say when
	stop    *control
}

// settle acknowledges what may be, and sees to dead letters.
func (c *claim) settle(ctx context.Context, batch []*entry, errs []error) settled {
	var s settled
	for i, e := range batch {
		err, wait := errs[i], time.Duration(-1)
		if ctl, ok := controlOf(err); ok {
			switch ctl.verb {
			case verbDrop:
				err = nil
			case verbStop:
				s.stop = ctl
			case verbRetry:
				wait = ctl.after
			case verbDeadLetter:
				if c.sub.cfg.deadLetter != "" {
					err = c.deadLetter(ctx, e, ctl.err)
				}
			}
		}
		switch {
		case err == nil:
			c.ack(e)
			continue
		case wait < 0:
			s.backOff = true
		default:
			s.after = max(s.after, wait)
		}
		s.left = append(s.left, e)
	}
	return s
}

// deliverBatch runs the handler once, and returns what it said of each message.
func (c *claim) deliverBatch(ctx context.Context, batch []*entry, attempt int) []error {
	records := make([]*Record, len(batch))
	for i, e := range batch {
		records[i] = &e.rec
	}
	cfg := c.sub.cfg
	if cfg.admit != nil {
		if err := cfg.admit(ctx, AdmissionRequest{Records: records, Draining: c.sub.draining}); err != nil {
			return BatchErrors(err, len(batch))
		}
	}
	if s := c.sub.slots; s != nil {
		select {
		case s <- struct{}{}:
			defer func() { <-s }()
		case <-ctx.Done():
			return BatchErrors(context.Cause(ctx), len(batch))
		}
	}
	ds, ends := make([]*Delivery, len(batch)), make([]func(error), len(batch))
	for i, e := range batch {
		d := c.sub.delivery(e, attempt)
		own, end := cfg.hooks.traceDelivery(ctx, c.sub.bus.caps.Name, cfg.group, d)
		d.SetContext(own)
		ds[i], ends[i] = d, end
	}
	begun := time.Now()
	errs := BatchErrors(c.guardedBatch(ctx, ds), len(batch))
	took := time.Since(begun)
	for i := range batch {
		ends[i](errs[i])
		cfg.hooks.onDelivery(DeliveryEvent{Transport: c.sub.bus.caps.Name, Group: cfg.group, Record: records[i], Attempt: attempt, Err: errs[i], Duration: took})
	}
	return errs
}

// guardedBatch turns a panic of the handler into an error.
func (c *claim) guardedBatch(ctx context.Context, ds []*Delivery) (err error) {
	first := ds[0].Record // ds is the handler's from now on
	defer func() {
		if p := recover(); p != nil {
			c.sub.bus.cfg.logger.Error("handler panicked", "topic", first.Topic, "partition", first.Partition, "offset", first.Offset,
				"batch", len(ds), "panic", p, "stack", string(debug.Stack()))
			err = &Error{Code: CodeInternal, Op: "handle", Topic: first.Topic, Reason: fmt.Sprintf("the handler panicked: %v", p)}
		}
	}()
	return c.sub.batch(ctx, ds)
}
