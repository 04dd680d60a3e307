package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/lazy"
)

// claim is one partition from its assignment until it is revoked or the subscription ends.
//
// Its goroutine, run, fetches records and admits them to the state. With order by partition and
// with batches it also handles them. Otherwise workers handle them, at most one for each place in
// the window. run waits for all workers, makes the last commit, and releases the partition.
type claim struct {
	engine *Engine
	part   driver.Partition
	// ctx is the context of the handlers: it ends with the subscription's and with the
	// partition's.
	ctx context.Context
	// fetching ends with ctx, and when the subscription drains.
	fetching context.Context
	commit   *committer
	workers  workers

	mu    sync.Mutex // guards state and workers
	state state
	space chan struct{} // holds one token when the window may have space again
}

func newClaim(e *Engine, p driver.Partition) *claim {
	s := e.cfg.Settings
	c := &claim{engine: e, part: p, space: make(chan struct{}, 1)}
	c.state = newState(rules{
		order: s.Order, unacked: s.Window, ahead: s.Ahead, atMostOnce: s.AtMostOnce, deadLetters: s.DeadLetterTopic != "",
		settleLater: s.Settle != nil,
		commitEach:  *s.CommitInterval == 0, lowest: s.MinBackoff, highest: s.MaxBackoff, jitter: jitter,
	}, s.Reuse && !s.AtMostOnce)
	c.workers.init(c, s.Window)
	return c
}

func (c *claim) run() {
	ctx, cancel := context.WithCancelCause(c.engine.ctx)
	defer cancel(context.Canceled)
	c.ctx = ctx
	revoked := c.part.Context()
	defer context.AfterFunc(revoked, func() { cancel(context.Cause(revoked)) })()
	fetching, stop := context.WithCancelCause(c.engine.fetching)
	defer stop(context.Canceled)
	defer context.AfterFunc(revoked, func() { stop(context.Cause(revoked)) })()
	c.fetching = fetching

	c.commit = newCommitter(c)
	if c.engine.cfg.HandleBatch != nil {
		c.readBatches()
	} else {
		c.read()
	}
	c.workers.stop()
	c.commit.last()
	c.part.Release()
}

// read dispatches records until fetching ends or Fetch fails.
func (c *claim) read() {
	dispatching := c.fetching
	if c.engine.cfg.DrainFetched && !c.engine.othersRedeliver() {
		dispatching = c.ctx
		defer c.readFetched()
	}
	for {
		records, err := c.part.Fetch(c.fetching)
		if err != nil {
			c.fetchFailed(err)
			return
		}
		for i := range records {
			if !c.dispatch(dispatching, &records[i]) {
				return
			}
		}
	}
}

// fetchFailed logs that Fetch failed, and waits for the end of the claim. The session reports the
// reason. Until then the claim keeps the partition.
func (c *claim) fetchFailed(err error) {
	if c.fetching.Err() == nil && c.part.Context().Err() == nil {
		c.engine.cfg.Logger.Warn("fetch failed", "topic", c.engine.cfg.Topic, "partition", c.part.ID(), "error", err)
		<-c.fetching.Done()
	}
}

// readFetched dispatches the records that the transport has already fetched. No other subscription
// would get them.
func (c *claim) readFetched() {
	c.fetchRest(func(records []driver.Record) bool {
		for i := range records {
			if !c.dispatch(c.ctx, &records[i]) {
				return false
			}
		}
		return true
	})
}

// drainPause is how long a drain waits for a transport that has no record ready. drainMost
// bounds the records that a drain takes, because publishers may continue to publish.
const (
	drainPause = 20 * time.Millisecond
	drainMost  = 1 << 16
)

// fetchRest calls take with the records that the transport has already fetched, until take
// returns false. It fetches nothing if the partition is revoked.
func (c *claim) fetchRest(take func([]driver.Record) bool) {
	for n := 0; n < drainMost; {
		// The lazy time-out begins only when Fetch begins to wait. On a busy machine, a time-out that
		// began here could end before Fetch looks for records.
		ctx := lazy.WithTimeout(c.ctx, drainPause)
		records, err := c.part.Fetch(ctx)
		ctx.Release()
		if err != nil || !take(records) || len(records) < c.engine.cfg.MaxFetch() {
			return
		}
		n += len(records)
	}
}

// dispatch waits for space in the window. It then handles the record, or passes it to the workers.
// It returns false if the caller must not dispatch more records.
func (c *claim) dispatch(dispatching context.Context, r *driver.Record) bool {
	if dispatching.Err() != nil {
		return false
	}
	c.mu.Lock()
	for c.state.full() {
		c.mu.Unlock()
		select {
		case <-c.space:
		case <-dispatching.Done():
			return false
		}
		c.mu.Lock()
	}
	if c.state.order == OrderByPartition {
		it := c.admitInline(r)
		c.mu.Unlock()
		_, more := c.handle(it)
		return more
	}
	c.state.admit(r).claim = c
	w := c.workers.next()
	c.mu.Unlock()
	w.signal()
	return true
}

// admitInline admits a record that the claim's own goroutine handles. The caller holds the
// mutex.
func (c *claim) admitInline(r *driver.Record) *Item {
	it := c.state.admit(r)
	it.claim = c
	c.state.ready.pop() // it is the only item in ready: this claim has no workers
	return it
}

// signalSpace wakes dispatch, which may be waiting for space in the window.
func (c *claim) signalSpace() {
	select {
	case c.space <- struct{}{}:
	default:
	}
}

// mayStart reports whether a handler may be called.
func (c *claim) mayStart() bool {
	select {
	case <-c.engine.draining:
		return c.engine.cfg.DrainFetched && c.ctx.Err() == nil
	default:
		return c.ctx.Err() == nil
	}
}

// starting returns the context that bounds everything that waits before a handler is called.
func (c *claim) starting() context.Context {
	if c.engine.cfg.DrainFetched {
		return c.ctx
	}
	return c.fetching
}

// pause waits before the next attempt. It returns false if the claim ends or drains first.
func (c *claim) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
	case <-c.engine.draining:
	}
	return false
}

// next returns the offset to commit; -1 if nothing is acknowledged.
func (c *claim) next() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.window.next
}

// lag returns the lag of the partition; false if the end of the log is not known.
// start is the offset at which the claim began. lag does not use the next offset of the
// transport: that is past the records that Fetch is about to return, which are not acknowledged.
func (c *claim) lag(start int64) (Lag, bool) {
	x, ok := c.part.(driver.Extent)
	if !ok {
		return Lag{}, false
	}
	_, end, known := x.Extent()
	if !known {
		return Lag{}, false
	}
	c.mu.Lock()
	position := max(start, c.state.window.next)
	if first := c.state.window.front; first != nil {
		position = first.record.Offset
	}
	c.mu.Unlock()
	return Lag{Partition: c.part.ID(), Position: position, End: max(end, position), Records: max(0, end-position)}, true
}
