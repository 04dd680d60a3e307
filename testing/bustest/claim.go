package bustest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

var (
	_ driver.Partition = (*claim)(nil)
	_ driver.Extent    = (*claim)(nil)
)

// claim is one claim of a partition. Only Fetch uses fetched and delayed; one goroutine calls it.
type claim struct {
	s        *session
	inner    driver.Partition
	ctx      context.Context
	cancel   context.CancelCauseFunc
	released chan struct{}
	once     sync.Once

	commitsEnded bool // every Commit fails; guarded by Faults.mu

	mu        sync.Mutex
	start     int64 // the offset where Fetch began; -1 if the transport did not report it
	next      int64 // the offset that Fetch returns next; -1 if it is not known
	committed int64 // the last successful Commit; -1 if there was none

	fetched []driver.Record // records with their faults, which Fetch has not returned yet
	delayed *time.Timer     // delays fetched; nil if there is no delay
}

func newClaim(s *session, p driver.Partition) *claim {
	c := &claim{s: s, inner: p, released: make(chan struct{}), start: -1, next: -1, committed: -1}
	c.ctx, c.cancel = context.WithCancelCause(p.Context())
	if x, ok := p.(driver.Extent); ok {
		if next, _, known := x.Extent(); known {
			c.start, c.next = next, next
		}
	}
	return c
}

// ID implements [driver.Partition].
func (c *claim) ID() int32 { return c.inner.ID() }

// Context implements [driver.Partition]. The context ends with that of the wrapped transport, and
// when a fault ends the claim.
func (c *claim) Context() context.Context { return c.ctx }

// Fetch implements [driver.Partition]. It applies the rules to each record.
func (c *claim) Fetch(ctx context.Context) ([]driver.Record, error) {
	f := c.s.f
	for {
		f.mu.Lock()
		wakeup, cut := c.s.wakeup, f.cutCause != nil
		f.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			return nil, context.Cause(c.ctx)
		case ctx.Err() != nil:
			return nil, f.failure(driver.ContextCode(ctx.Err()), "fetch", c.s.sub.Topic, "", ctx.Err())
		case cut && f.closing.Err() == nil:
			c.wait(ctx, wakeup, nil)
			continue
		case len(c.fetched) > 0 && c.delayed != nil && f.closing.Err() == nil:
			if c.wait(ctx, wakeup, c.delayed.C) {
				c.delayed = nil
			}
			continue
		case len(c.fetched) > 0:
			recs := c.fetched
			c.fetched = nil
			c.mu.Lock()
			c.next = recs[len(recs)-1].Offset + 1
			c.mu.Unlock()
			return recs, nil
		}
		recs, err := c.fetchFromInner(ctx, wakeup)
		if err != nil {
			return nil, err
		}
		c.fetched = recs
		c.applyRules()
	}
}

// wait returns true when the timer fires, and false when Fetch must check the state again.
func (c *claim) wait(ctx, wakeup context.Context, timer <-chan time.Time) bool {
	select {
	case <-timer:
		return true
	case <-wakeup.Done():
	case <-c.ctx.Done():
	case <-ctx.Done():
	}
	return false
}

// fetchFromInner fetches from the wrapped transport. If it returns neither records nor an error,
// Fetch must check the state again.
func (c *claim) fetchFromInner(ctx, wakeup context.Context) ([]driver.Record, error) {
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	if c.s.f.closing.Err() == nil {
		defer context.AfterFunc(wakeup, cancel)()
	}
	recs, err := c.inner.Fetch(either)
	if err != nil && either.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return recs, err
}

// applyRules applies the rules to the records in fetched.
func (c *claim) applyRules() {
	f := c.s.f
	for i := range c.fetched {
		act := f.decide(fetching, c.s.sub.Topic)
		switch act.kind {
		case corrupt:
			c.fetched[i].DecodeErr = act.err
		case delay:
			if c.delayed == nil {
				c.delayed = time.NewTimer(act.d)
			} else {
				c.delayed.Reset(act.d)
			}
		case disconnect:
			f.disconnect(errDisconnected, act.d)
		case rebalance:
			f.rebalance("", c.s.sub.Topic)
		}
	}
}

// Commit implements [driver.Partition]. It returns a Revoked error after a fault has ended the claim.
func (c *claim) Commit(ctx context.Context, next int64, metadata string) error {
	f := c.s.f
	f.mu.Lock()
	ended := c.commitsEnded
	f.mu.Unlock()
	if ended {
		return f.failure(driver.CodeRevoked, "commit", c.s.sub.Topic, "a fault ended the claim", context.Cause(c.ctx))
	}
	if err := c.inner.Commit(ctx, next, metadata); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.committed = max(c.committed, next)
	return nil
}

// Extent implements [driver.Extent]. Records that a rule still delays do not count as fetched.
func (c *claim) Extent() (next, end int64, known bool) {
	x, ok := c.inner.(driver.Extent)
	if !ok {
		return 0, 0, false
	}
	next, end, known = x.Extent()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next >= 0 {
		next = c.next
	}
	return next, end, known
}

// Release implements [driver.Partition].
func (c *claim) Release() {
	c.once.Do(func() {
		c.inner.Release()
		close(c.released)
		c.cancel(c.s.f.failure(driver.CodeRevoked, "consume", c.s.sub.Topic, "the partition was released", nil))
		c.s.f.mu.Lock()
		c.s.claims = slices.DeleteFunc(c.s.claims, func(o *claim) bool { return o == c })
		c.s.f.mu.Unlock()
	})
}
