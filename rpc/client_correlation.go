package rpc

import (
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/rpc/frame"
)

// maxAbandoned is how many ids of calls that ended without a reply are stored.
const maxAbandoned = 4096

// pendingCalls finds the call that a reply belongs to.
type pendingCalls struct {
	mu      sync.Mutex
	limit   int
	waiting map[string]*pendingCall // by id
	closed  *Error                  // the error of all further calls; nil while open
	// abandoned holds the ids of the latest calls that ended without a reply, to
	// distinguish a late reply from a duplicate. ring holds the same ids in the order of
	// their end, and next is the oldest once it is full.
	abandoned map[string]struct{}
	ring      []string
	next      int
}

func newPendingCalls(limit int) *pendingCalls {
	return &pendingCalls{limit: limit, waiting: map[string]*pendingCall{}, abandoned: map[string]struct{}{}}
}

// add must be called before the request is published, or its reply could arrive first.
func (c *pendingCalls) add(p *pendingCall) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return c.closed
	}
	if len(c.waiting) >= c.limit {
		return newError(codes.ResourceExhausted, "too many calls are pending: see WithMaxPending", nil)
	}
	c.waiting[p.id] = p
	return nil
}

// remove removes p. It returns true if p was waiting; then the caller of remove must end p.
func (c *pendingCalls) remove(p *pendingCall) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[p.id] != p {
		return false
	}
	delete(c.waiting, p.id)
	return true
}

// abandon is like remove, and also stores the id of p in c.abandoned. Use it for a call
// that ends without a reply.
func (c *pendingCalls) abandon(p *pendingCall) bool {
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

// match finds the call that the reply f belongs to. It removes and returns a call that
// waits for one reply, and returns the gathering of one that waits for several. An error
// that answers an earlier attempt belongs to no call, because the client has retried that
// attempt already. If match returns no call, late reports whether the call ended without a
// reply.
func (c *pendingCalls) match(f *frame.Frame) (p *pendingCall, g *gathering, late bool) {
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

func (c *pendingCalls) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// close ends every pending call, and every later one, with err.
func (c *pendingCalls) close(err *Error) {
	c.mu.Lock()
	if c.closed == nil {
		c.closed = err
	}
	waiting := c.waiting
	c.waiting = map[string]*pendingCall{}
	c.mu.Unlock()
	for _, p := range waiting {
		p.done <- result{err: err}
	}
}
