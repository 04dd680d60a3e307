package kafka

import (
	"context"
	"sync"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

var _ driver.Extent = (*claim)(nil)

// claim is a partition that a session holds. It is the driver.Partition of both kinds of
// session. The session ends it, and the goroutine that fetches from it releases it.
type claim struct {
	id       int32
	topic    string
	maxFetch int
	codec    *recordCodec
	store    func(ctx context.Context, c *claim, next int64, metadata string) error // commits; nil without a group

	ctx         context.Context
	end         context.CancelCauseFunc
	fetched     []driver.Record           // the last result of Fetch; only Fetch uses it
	scratch     []*sarama.ConsumerMessage // only collect uses it
	released    chan struct{}
	releaseOnce sync.Once

	mu     sync.Mutex
	next   int64   // at most the offset of the next record that Fetch returns
	source *source // nil while there is none
	// sourceSet is closed and replaced when source is set.
	sourceSet    chan struct{}
	commitsEnded bool // no commit is allowed any more

	// committing is held during a commit. committed is guarded by it.
	committing sync.Mutex
	committed  int64 // the last offset that this claim committed; -1 before the first commit
}

// source provides the records of a claim until sarama closes its channel.
type source struct {
	messages <-chan *sarama.ConsumerMessage
	end      func() int64  // the end of the log at the last fetch; 0 before the first
	closed   chan struct{} // closed when Fetch has found messages closed
	once     sync.Once
}

func newClaim(s driver.Subscription, codec *recordCodec, id int32, next int64) *claim {
	c := &claim{
		id: id, topic: s.Topic, maxFetch: s.MaxFetch, codec: codec, next: next, committed: -1,
		released: make(chan struct{}), sourceSet: make(chan struct{}),
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	return c
}

// ID implements driver.Partition.
func (c *claim) ID() int32 { return c.id }

// Context implements driver.Partition.
func (c *claim) Context() context.Context { return c.ctx }

// Release implements driver.Partition.
func (c *claim) Release() { c.releaseOnce.Do(func() { close(c.released) }) }

// attach makes Fetch read from messages until that channel is closed. end returns the
// high-water mark.
func (c *claim) attach(messages <-chan *sarama.ConsumerMessage, end func() int64) *source {
	s := &source{messages: messages, end: end, closed: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.source = s
	close(c.sourceSet)
	c.sourceSet = make(chan struct{})
	return s
}

// nextOffset returns the offset at which reading continues.
func (c *claim) nextOffset() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

// Extent implements [driver.Extent]. sarama reports the end of the log with each fetch.
func (c *claim) Extent() (next, end int64, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.source == nil {
		return c.next, 0, false
	}
	end = c.source.end()
	return c.next, max(end, c.next), end > 0
}

// Fetch implements driver.Partition.
func (c *claim) Fetch(ctx context.Context) ([]driver.Record, error) {
	clear(c.fetched)
	for {
		if c.ctx.Err() != nil {
			return nil, c.endedError("fetch")
		}
		c.mu.Lock()
		src, sourceSet := c.source, c.sourceSet
		c.mu.Unlock()
		var messages <-chan *sarama.ConsumerMessage
		if src != nil {
			messages = src.messages
		}
		select {
		case <-c.ctx.Done():
		case <-sourceSet:
		case <-ctx.Done():
			return nil, failCode(driver.ContextCode(ctx.Err()), "fetch", c.topic, "", ctx.Err())
		case m, open := <-messages:
			if c.ctx.Err() != nil {
				continue // the claim has ended, so the next claim reads this record
			}
			if !open {
				c.detach(src)
			} else if records := c.collect(m, messages); len(records) > 0 {
				return records, nil
			}
		}
	}
}

func (c *claim) detach(src *source) {
	c.mu.Lock()
	if c.source == src {
		c.source = nil
	}
	c.mu.Unlock()
	src.once.Do(func() { close(src.closed) })
}

// collect returns first and the records that are available without waiting, up to
// maxFetch. It skips records before next.
func (c *claim) collect(first *sarama.ConsumerMessage, messages <-chan *sarama.ConsumerMessage) []driver.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.scratch[:0]
	for m, open := first, true; m != nil; {
		if m.Offset >= c.next {
			taken = append(taken, m)
			c.next = m.Offset + 1
		}
		if m = nil; len(taken) < c.maxFetch && open {
			select {
			case m, open = <-messages: // the next Fetch handles a closed channel
			default:
			}
		}
	}
	c.fetched = c.codec.decode(c.fetched[:0], taken)
	clear(taken)
	c.scratch = taken
	return c.fetched
}

// Commit implements driver.Partition.
func (c *claim) Commit(ctx context.Context, next int64, metadata string) error {
	if c.store == nil {
		return nil
	}
	return c.store(ctx, c, next, metadata)
}

func (c *claim) commitsAllowed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.commitsEnded
}

// endCommits makes all later commits fail.
func (c *claim) endCommits() {
	c.mu.Lock()
	c.commitsEnded = true
	c.mu.Unlock()
}

// endedError returns the error of an operation after the claim has ended.
func (c *claim) endedError(op string) error { return fail(op, c.topic, context.Cause(c.ctx)) }

// commitsEndedError returns the error of a Commit after endCommits.
func (c *claim) commitsEndedError() error {
	return failCode(driver.CodeRevoked, "commit", c.topic, "the partition no longer belongs to this member", context.Cause(c.ctx))
}
