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

// claim is one claim of a partition. Only Fetch, which one goroutine calls, uses
// stash and pause.
type claim struct {
	s        *session
	inner    driver.Partition
	ctx      context.Context
	cancel   context.CancelCauseFunc
	released chan struct{}
	once     sync.Once

	over bool // guarded by Faults.mu: no commit is granted any more

	mu        sync.Mutex
	start     int64 // where Fetch began; -1 when the transport did not know
	next      int64 // where Fetch goes on, what is stashed not counted; -1 when that is not known
	committed int64 // the last Commit that took; -1 for none

	stash []driver.Record // fetched, looked at, and not returned yet
	pause *time.Timer     // what is stashed waits for it; nil for nothing
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

// ID is the partition's.
func (c *claim) ID() int32 { return c.inner.ID() }

// Context ends with the transport's, and with the faults that end claims.
func (c *claim) Context() context.Context { return c.ctx }

// Fetch returns the next records, with what the rules have for them.
func (c *claim) Fetch(ctx context.Context) ([]driver.Record, error) {
	f := c.s.f
	for {
		f.mu.Lock()
		epoch, away := c.s.epoch, f.away != nil
		f.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			return nil, context.Cause(c.ctx)
		case ctx.Err() != nil:
			return nil, f.failure(driver.ContextCode(ctx.Err()), "fetch", c.s.sub.Topic, "", ctx.Err())
		case away && f.closing.Err() == nil:
			c.wait(ctx, epoch, nil)
			continue
		case len(c.stash) > 0 && c.pause != nil && f.closing.Err() == nil:
			if c.wait(ctx, epoch, c.pause.C) {
				c.pause = nil
			}
			continue
		case len(c.stash) > 0:
			recs := c.stash
			c.stash = nil
			c.mu.Lock()
			c.next = recs[len(recs)-1].Offset + 1
			c.mu.Unlock()
			return recs, nil
		}
		recs, err := c.fetch(ctx, epoch)
		if err != nil {
			return nil, err
		}
		c.stash = recs
		c.befall()
	}
}

// wait returns true when the time has come, false when there is something to look at.
func (c *claim) wait(ctx, epoch context.Context, timer <-chan time.Time) bool {
	select {
	case <-timer:
		return true
	case <-epoch.Done():
	case <-c.ctx.Done():
	case <-ctx.Done():
	}
	return false
}

// fetch asks the transport; no records and no error mean: look again.
func (c *claim) fetch(ctx, epoch context.Context) ([]driver.Record, error) {
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	if c.s.f.closing.Err() == nil {
		defer context.AfterFunc(epoch, cancel)()
	}
	recs, err := c.inner.Fetch(either)
	if err != nil && either.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return recs, err
}

// befall lets the rules have their way with what was just fetched.
func (c *claim) befall() {
	f := c.s.f
	for i := range c.stash {
		act := f.decide(fetching, c.s.sub.Topic)
		switch act.kind {
		case corrupt:
			c.stash[i].DecodeErr = act.err
		case delay:
			if c.pause == nil {
				c.pause = time.NewTimer(act.d)
			} else {
				c.pause.Reset(act.d)
			}
		case disconnect:
			f.disconnect(errCut, act.d)
		case rebalance:
			f.rebalance("", c.s.sub.Topic)
		}
	}
}

// Commit is the transport's; Revoked after a fault has ended the claim.
func (c *claim) Commit(ctx context.Context, next int64, metadata string) error {
	f := c.s.f
	f.mu.Lock()
	over := c.over
	f.mu.Unlock()
	if over {
		return f.failure(driver.CodeRevoked, "commit", c.s.sub.Topic, "the claim was ended by a fault", context.Cause(c.ctx))
	}
	if err := c.inner.Commit(ctx, next, metadata); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.committed = max(c.committed, next)
	return nil
}

// Extent is the transport's, but for records that a rule still withholds: Fetch goes on
// at those.
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

// Release lets go of the partition.
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
