package memory

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// claim is one session's hold on a partition.
type claim struct {
	session   *session
	partition *partition
	mark      *mark
	maxFetch  int
	ctx       context.Context
	cancel    context.CancelCauseFunc
	wake      chan struct{}
	fetched   []driver.Record // what Fetch returned last; Fetch's own
	picked    []pick          // Fetch's own

	// Guarded by partition.mu.
	next    int64 // the next record to fetch
	paused  bool  // the broker is away: Fetch waits
	ended   bool  // Fetch is over
	granted bool  // Commit is allowed
	waiting bool  // is in the partition's list of waiters

	// Guarded by Log.mu.
	delivered bool // Next has returned it
	revoked   bool
	released  bool
	timer     *time.Timer // ends the wait for Release
}

var (
	_ driver.Partition = (*claim)(nil)
	_ driver.Extent    = (*claim)(nil)
)

func newClaim(s *session, p *partition, m *mark, next int64) *claim {
	c := &claim{
		session: s, partition: p, mark: m, maxFetch: max(1, s.sub.MaxFetch),
		wake: make(chan struct{}, 1), next: next, granted: true,
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// signal never blocks, so it may be called with a lock held.
func (c *claim) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *claim) ID() int32 { return c.partition.id }

func (c *claim) Context() context.Context { return c.ctx }

// Extent implements [driver.Extent].
func (c *claim) Extent() (next, end int64, known bool) {
	p := c.partition
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(c.next, p.base), p.end, true
}

func (c *claim) Fetch(ctx context.Context) ([]driver.Record, error) {
	p := c.partition
	clear(c.fetched)
	if err := ctx.Err(); err != nil {
		return nil, contextError("fetch", p.topic, err)
	}
	for {
		p.mu.Lock()
		if c.ended {
			p.mu.Unlock()
			return nil, context.Cause(c.ctx)
		}
		if !c.paused {
			p.expire()
			c.next = max(c.next, p.base)
			if picked := p.pick(c.picked[:0], c.next, c.maxFetch); len(picked) > 0 {
				c.next = picked[len(picked)-1].offset + 1
				var room *roomWaiter
				if c.session.group == nil {
					c.mark.next = c.next
					room = p.nextInQueue()
				}
				p.mu.Unlock()
				room.wake()
				c.fetched = p.records(c.fetched[:0], picked)
				clear(picked)
				c.picked = picked
				return c.fetched, nil
			}
		}
		p.addWaiter(c)
		p.mu.Unlock()
		select {
		case <-c.wake:
			// Those who are about to publish go first. Otherwise a caller, this reader
			// and whoever answers hand the processor to each other for as long as they
			// may keep it, 10 ms, and all others wait; and each batch is of one record.
			runtime.Gosched()
		case <-c.ctx.Done():
			return nil, context.Cause(c.ctx)
		case <-ctx.Done():
			return nil, contextError("fetch", p.topic, ctx.Err())
		}
	}
}

func (c *claim) Commit(_ context.Context, next int64, metadata string) error {
	if c.session.group == nil {
		return nil
	}
	p := c.partition
	p.mu.Lock()
	if !c.granted {
		p.mu.Unlock()
		return failure(driver.CodeRevoked, "commit", p.topic,
			fmt.Sprintf("partition %d is no longer this member's; what it did not commit is redelivered", p.id), nil)
	}
	if next > p.end {
		err := outOfRange("commit", p, next)
		p.mu.Unlock()
		return err
	}
	m := c.mark
	if next >= m.next {
		m.next, m.metadata, m.committed = next, metadata, true
	}
	room := p.nextInQueue()
	p.mu.Unlock()
	room.wake()
	return nil
}

func (c *claim) Release() {
	l := c.session.log
	l.mu.Lock()
	defer l.mu.Unlock()
	c.session.release(c)
}

// end stops Fetch and ends the context with cause; a claim that is still granted
// may go on committing. Nobody's code runs under Log.mu by it: what hangs on a
// context's end runs on goroutines of its own.
func (c *claim) end(cause error, granted bool) {
	c.cancel(cause)
	p := c.partition
	p.mu.Lock()
	c.ended = true
	c.granted = c.granted && granted
	p.dropWaiter(c)
	p.mu.Unlock()
}

// outOfRange is called with p.mu held.
func outOfRange(op string, p *partition, offset int64) error {
	return failure(driver.CodeOutOfRange, op, p.topic,
		fmt.Sprintf("offset %d is not in partition %d, which holds %d to %d", offset, p.id, p.base, p.end), nil)
}

func contextError(op, topic string, err error) error {
	return failure(driver.ContextCode(err), op, topic, "", err)
}
