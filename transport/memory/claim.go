package memory

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// claim is a partition that is assigned to a session. It implements [driver.Partition].
type claim struct {
	session   *session
	partition *partition
	progress  *progress
	maxFetch  int
	ctx       context.Context
	cancel    context.CancelCauseFunc
	wake      chan struct{}
	fetched   []driver.Record // what Fetch returned last; used only by Fetch
	encoded   []encodedRecord // reused by Fetch

	// Guarded by partition.mu.
	next      int64 // next offset to fetch
	paused    bool  // Fetch waits, because the session is disconnected
	ended     bool  // Fetch returns the cause of ctx
	mayCommit bool
	waiting   bool // is among the waiting claims of the partition

	// Guarded by Log.mu.
	announced bool // Next has returned the claim
	revoked   bool
	released  bool
	timer     *time.Timer // releases the claim after the revoke timeout
}

var (
	_ driver.Partition = (*claim)(nil)
	_ driver.Extent    = (*claim)(nil)
)

func newClaim(s *session, p *partition, pr *progress, next int64) *claim {
	c := &claim{
		session: s, partition: p, progress: pr, maxFetch: max(1, s.sub.MaxFetch),
		wake: make(chan struct{}, 1), next: next, mayCommit: true,
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// signal wakes Fetch. It does not block, so callers may hold a lock.
func (c *claim) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *claim) ID() int32 { return c.partition.id }

func (c *claim) Context() context.Context { return c.ctx }

// cause returns why the claim has ended.
func (c *claim) cause() error { return context.Cause(c.ctx) }

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
			return nil, c.cause()
		}
		if !c.paused {
			p.dropExpired()
			c.next = max(c.next, p.base)
			if encoded := p.collect(c.encoded[:0], c.next, c.maxFetch); len(encoded) > 0 {
				c.next = encoded[len(encoded)-1].offset + 1
				var publisher *waitingPublisher
				if c.session.group == nil {
					c.progress.next = c.next
					publisher = p.nextPublisher()
				}
				p.mu.Unlock()
				publisher.wake()
				c.fetched = p.decode(c.fetched[:0], encoded)
				clear(encoded)
				c.encoded = encoded
				return c.fetched, nil
			}
		}
		p.addWaitingClaim(c)
		p.mu.Unlock()
		select {
		case <-c.wake:
			// Yield to goroutines that are about to publish. Without this, a caller of RPC,
			// this reader and the goroutine that answers can keep one processor busy among
			// themselves for up to 10 ms, while all other goroutines wait. Each batch then
			// has only one record.
			runtime.Gosched()
		case <-c.ctx.Done():
			return nil, c.cause()
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
	if !c.mayCommit {
		p.mu.Unlock()
		return newError(driver.CodeRevoked, "commit", p.topic,
			fmt.Sprintf("partition %d no longer belongs to this member; messages that it has not committed are redelivered", p.id), nil)
	}
	if next > p.end {
		err := offsetOutOfRange("commit", p, next)
		p.mu.Unlock()
		return err
	}
	// A committed offset never moves back.
	if pr := c.progress; next >= pr.next {
		pr.next, pr.metadata, pr.committed = next, metadata, true
	}
	publisher := p.nextPublisher()
	p.mu.Unlock()
	publisher.wake()
	return nil
}

func (c *claim) Release() {
	l := c.session.log
	l.mu.Lock()
	defer l.mu.Unlock()
	c.session.release(c)
}

// end stops Fetch and ends the context with cause. If mayCommit is false, later commits
// fail. The context runs its AfterFuncs on other goroutines, so no code of a
// caller runs under Log.mu.
func (c *claim) end(cause error, mayCommit bool) {
	c.cancel(cause)
	p := c.partition
	p.mu.Lock()
	c.ended = true
	c.mayCommit = c.mayCommit && mayCommit
	p.removeWaitingClaim(c)
	p.mu.Unlock()
}
