package kafka

import (
	"context"
	"sync"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

var _ driver.Extent = (*claim)(nil)

// claim is a partition that a session holds: the driver.Partition of both kinds of
// session. Its session ends it; whoever fetches from it releases it.
type claim struct {
	id       int32
	topic    string
	maxFetch int
	wire     *wire
	store    func(ctx context.Context, c *claim, next int64, metadata string) error // nil without a group

	ctx      context.Context
	end      context.CancelCauseFunc
	fetched  []driver.Record           // what Fetch returned last; Fetch's own
	came     []*sarama.ConsumerMessage // collect's own
	released chan struct{}
	release  sync.Once

	mu     sync.Mutex
	next   int64         // the offset that Fetch is to return next, or one after
	source *source       // nil while there is none
	moved  chan struct{} // closed and replaced when source is set

	commits   sync.Mutex // held while a commit is under way
	committed int64      // under commits; -1 before the first
	over      bool       // under mu: no commit is granted any more
}

// source is where records come from, for as long as sarama keeps it open.
type source struct {
	messages <-chan *sarama.ConsumerMessage
	end      func() int64  // the log's end as of the last fetch; 0 before the first
	dry      chan struct{} // closed when messages was found closed
	once     sync.Once
}

func newClaim(s driver.Subscription, w *wire, id int32, next int64) *claim {
	c := &claim{
		id: id, topic: s.Topic, maxFetch: s.MaxFetch, wire: w, next: next, committed: -1,
		released: make(chan struct{}), moved: make(chan struct{}),
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	return c
}

// ID implements driver.Partition.
func (c *claim) ID() int32 { return c.id }

// Context implements driver.Partition.
func (c *claim) Context() context.Context { return c.ctx }

// Release implements driver.Partition.
func (c *claim) Release() { c.release.Do(func() { close(c.released) }) }

// attach makes Fetch read from messages, until its channel is found closed. end is the
// high-water mark.
func (c *claim) attach(messages <-chan *sarama.ConsumerMessage, end func() int64) *source {
	s := &source{messages: messages, end: end, dry: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.source = s
	close(c.moved)
	c.moved = make(chan struct{})
	return s
}

func (c *claim) position() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

// Extent implements [driver.Extent]. Fetches tell the end.
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
			return nil, c.ended("fetch")
		}
		c.mu.Lock()
		src, moved := c.source, c.moved
		c.mu.Unlock()
		var messages <-chan *sarama.ConsumerMessage
		if src != nil {
			messages = src.messages
		}
		select {
		case <-c.ctx.Done():
		case <-moved:
		case <-ctx.Done():
			return nil, failCode(driver.ContextCode(ctx.Err()), "fetch", c.topic, "", ctx.Err())
		case m, open := <-messages:
			if c.ctx.Err() != nil {
				continue // what comes with the end of the claim is the next one's to read
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
	src.once.Do(func() { close(src.dry) })
}

// collect returns first and what can be had without waiting.
func (c *claim) collect(first *sarama.ConsumerMessage, messages <-chan *sarama.ConsumerMessage) []driver.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	came := c.came[:0]
	for m, open := first, true; m != nil; {
		if m.Offset >= c.next {
			came = append(came, m)
			c.next = m.Offset + 1
		}
		if m = nil; len(came) < c.maxFetch && open {
			select {
			case m, open = <-messages: // Fetch finds it closed again
			default:
			}
		}
	}
	c.fetched = c.wire.decode(c.fetched[:0], came)
	clear(came)
	c.came = came
	return c.fetched
}

// Commit implements driver.Partition.
func (c *claim) Commit(ctx context.Context, next int64, metadata string) error {
	if c.store == nil {
		return nil
	}
	return c.store(ctx, c, next, metadata)
}

func (c *claim) granted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.over
}

// finish ends what is still granted to a claim that has ended.
func (c *claim) finish() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
}

func (c *claim) ended(op string) error {
	return fail(op, c.topic, context.Cause(c.ctx))
}

// uncommitted is the error of a Commit that comes after all that is granted.
func (c *claim) uncommitted() error {
	return failCode(driver.CodeRevoked, "commit", c.topic, "the partition is no longer ours", context.Cause(c.ctx))
}
