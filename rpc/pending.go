package rpc

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
)

// pending is a call that waits for its reply, or for what it waits for instead.
//
// Whoever removes it from its calls, and nobody else, ends it: by sending to done,
// which has room for one, so that nobody ever waits to end a call. One that gathers
// stays until its caller removes it; whoever else does ends it alike.
//
// It is used again once both who hold it have let go: the caller, and the publishing
// of the request, which may be told its outcome after the reply has come.
type pending struct {
	client    *Client
	id        string
	attempt   int
	kind      callKind
	gather    *gathering // for replies
	progress  *progress  // of an asynchronous call
	begun     time.Time  // the call, not the attempt
	done      chan ending
	published func(bus.Outcome) // settle, bound once
	holders   atomic.Int32
	request   Frame
	record    *bus.Record // of request

	// A cancel notice goes out once both are known, whichever is second: where the
	// request is (its partition + 2), and that it is not wanted any more.
	place     atomic.Int64
	cancelled atomic.Bool
	noticed   atomic.Bool
}

func (c *Client) newPending(id string, attempt int, s *callSettings) *pending {
	p, ok := c.idle.Get().(*pending)
	if !ok {
		p = &pending{client: c, done: make(chan ending, 1), record: newRecord()}
		p.published = p.settle
	}
	p.id, p.attempt, p.kind, p.gather, p.progress, p.begun = id, attempt, s.kind, s.gather, s.progress, s.begun
	p.holders.Store(2)
	return p
}

func (p *pending) release() {
	if p.holders.Add(-1) == 0 {
		p.request, p.gather, p.progress = Frame{}, nil, nil
		emptied(p.record)
		p.place.Store(0)
		p.cancelled.Store(false)
		p.noticed.Store(false)
		p.client.idle.Put(p)
	}
}

// ending is what a call ends with: exactly one of them is set.
type ending struct {
	resp *Response
	err  *Error
}

// settle is told what became of the request.
func (p *pending) settle(o bus.Outcome) {
	defer p.release()
	if o.Err != nil {
		p.record = newRecord() // the transport may still be reading the other
	}
	switch {
	case o.Err == nil:
		p.isSent(o.Partition)
	case bus.CodeOf(o.Err) == bus.CodeOutcomeUnknown:
		p.client.counters.outcomeUnknown.Add(1)
		// The server may have got it: wait for the reply, or the deadline.
		p.place.Store(int64(AnyPartition) + 2)
		p.notify()
		if p.kind == forOutcome && p.client.calls.remove(p) {
			p.done <- ending{err: publishError(o.Err)}
		}
	case p.client.calls.remove(p):
		p.done <- ending{err: publishError(o.Err)}
	}
}

func (p *pending) isSent(partition int32) {
	p.place.Store(int64(partition) + 2)
	if p.progress != nil {
		p.progress.isSent()
	}
	if p.kind == forOutcome && p.client.calls.remove(p) {
		p.done <- ending{resp: &Response{}}
	}
	p.notify()
}

// cancel has the server told that nobody waits for the answer, as soon as the request
// is known to be sent, or that is not to be known. The caller still holds p. A request
// with an idempotency key may be somebody else's, too.
func (p *pending) cancel() {
	if p.kind == forOutcome || p.request.IdempotencyKey != "" {
		return
	}
	p.cancelled.Store(true)
	p.notify()
}

func (p *pending) notify() {
	if place := p.place.Load(); place != 0 && p.cancelled.Load() && p.noticed.CompareAndSwap(false, true) {
		p.client.reader.sendCancel(p.client, &p.request, int32(place-2))
	}
}

// calls correlates replies with the calls that wait for them.
type calls struct {
	mu      sync.Mutex
	limit   int
	waiting map[string]*pending
	closed  *Error // why no call is taken any more
	// abandoned remembers the ids of the last calls that ended without a reply, to
	// tell a late reply from a duplicate. next is where ring is overwritten.
	abandoned map[string]struct{}
	ring      []string
	next      int
}

// maxAbandoned bounds what is remembered of calls that nobody waits for any more.
const maxAbandoned = 4096

func newCalls(limit int) *calls {
	return &calls{limit: limit, waiting: map[string]*pending{}, abandoned: map[string]struct{}{}}
}

// add lets p wait. It must come before the request is published.
func (c *calls) add(p *pending) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return c.closed
	}
	if len(c.waiting) >= c.limit {
		return newError(codes.ResourceExhausted, "too many calls wait for their replies: see MaxPending", nil)
	}
	c.waiting[p.id] = p
	return nil
}

// remove returns true when p waited: it is the caller's to end now.
func (c *calls) remove(p *pending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[p.id] != p {
		return false
	}
	delete(c.waiting, p.id)
	return true
}

// abandon is remove for a caller that has gone away.
func (c *calls) abandon(p *pending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[p.id] != p {
		return false
	}
	delete(c.waiting, p.id)
	if len(c.ring) < maxAbandoned {
		c.ring = append(c.ring, p.id)
	} else {
		delete(c.abandoned, c.ring[c.next])
		c.ring[c.next] = p.id
		c.next = (c.next + 1) % maxAbandoned
	}
	c.abandoned[p.id] = struct{}{}
	return true
}

// match removes and returns the call that a reply is for. An error that answers an
// earlier attempt is for nobody: that attempt has failed already. A gathering that
// it is for is returned without being removed. Otherwise late tells whether the caller
// had gone away; if not, the call was answered before.
func (c *calls) match(f *Frame) (p *pending, g *gathering, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.waiting[f.ID]; ok && p.kind != forOutcome {
		switch {
		case p.gather != nil:
			return nil, p.gather, false
		case f.Status != nil && f.Attempt < p.attempt:
			return nil, nil, false
		}
		delete(c.waiting, f.ID)
		return p, nil, false
	}
	_, late = c.abandoned[f.ID]
	delete(c.abandoned, f.ID)
	return nil, nil, late
}

func (c *calls) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// close ends every call with err, and every later one.
func (c *calls) close(err *Error) {
	c.mu.Lock()
	if c.closed == nil {
		c.closed = err
	}
	waiting := c.waiting
	c.waiting = map[string]*pending{}
	c.mu.Unlock()
	for _, p := range waiting {
		p.done <- ending{err: err}
	}
}
