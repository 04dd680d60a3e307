package rpc

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
)

// maxAnswers bounds the answers that one Gather keeps.
const maxAnswers = 10_000

// Answer is the answer of one server to a Gather: exactly one of Resp and Err is set.
type Answer[Resp any] struct {
	// Server is the id of the server instance, or "" if the reply does not name it.
	Server string
	// Resp is the response.
	Resp *Resp
	// Err is the error. Its Remote method returns false if the client could not decode
	// the response.
	Err *Error
}

// Gather calls method on every server instance that reads topic, and collects one answer
// from each, in the order of arrival. Where the transport has consumer groups, the servers
// need the option bus.NoGroup, because only one server of a group reads the request.
//
// Gather ends when the condition of [Expect] or [Until] is met, or when the timeout or the
// context ends. It returns the answers that have arrived, also if it returns an error. The
// error is nil if the condition was met. Without a condition the error is also nil when the
// timeout expires. Any other error is an *[Error]. After a met condition or a canceled
// context, Gather sends a cancel message for the handlers that have not answered. [Retry]
// only repeats the sending of the request; Gather ignores its AttemptTimeout. Gather keeps
// at most 10,000 answers.
func Gather[Resp any](ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) ([]Answer[Resp], error) {
	x, err := c.outgoing(topic, method, req, opts)
	if err != nil {
		return nil, err
	}
	s := &x.settings
	enough, ok := s.until.(func([]Answer[Resp]) bool)
	if s.until != nil && !ok {
		return nil, invalidOption("Until: its type parameter differs from that of Gather").of(method, topic)
	}
	var answers []Answer[Resp]
	s.kind = forReplies
	s.gather = &gathering{arrived: make(chan struct{}, 1), answered: map[string]struct{}{}, untilTimeout: s.expect == 0 && enough == nil}
	s.gather.add = func(r result) bool {
		a := Answer[Resp]{Server: r.server, Err: r.err}
		if a.Err == nil {
			a.Resp, a.Err = decode[Resp](c, r.resp)
		}
		if a.Err != nil {
			a.Err = a.Err.of(method, topic)
		}
		answers = append(answers, a)
		return s.expect > 0 && len(answers) >= s.expect || enough != nil && enough(answers)
	}
	_, err = c.call(ctx, x)
	return answers, err
}

// gathering passes the replies to one request from the reply reader to the goroutine that
// gathers.
type gathering struct {
	add          func(result) (enough bool) // called by the goroutine that gathers
	untilTimeout bool                       // there is no condition: a timeout is not an error
	arrived      chan struct{}              // holds a token when queue has grown

	mu       sync.Mutex
	queue    []result
	answered map[string]struct{} // the servers that have answered
}

// push queues a reply. It returns false if the server has answered before, or if there are
// too many answers.
func (g *gathering) push(r result) bool {
	g.mu.Lock()
	_, again := g.answered[r.server]
	if again || len(g.answered) >= maxAnswers {
		g.mu.Unlock()
		return false
	}
	g.answered[r.server] = struct{}{}
	g.queue = append(g.queue, r)
	g.mu.Unlock()
	select {
	case g.arrived <- struct{}{}:
	default:
	}
	return true
}

// drain adds what is queued, and reports whether the condition is met.
func (g *gathering) drain() bool {
	g.mu.Lock()
	queue := g.queue
	g.queue = nil
	g.mu.Unlock()
	for _, r := range queue {
		if g.add(r) {
			return true
		}
	}
	return false
}

// gather waits for the replies of a call that can have several, as await does for one
// reply. It removes p from c.pending.
func (c *Client) gather(ctx context.Context, p *pendingCall) (*Response, *Error) {
	g := p.gather
	for {
		select {
		case <-g.arrived:
			if !g.drain() {
				continue
			}
			if !c.pending.remove(p) {
				<-p.done // another goroutine is ending p: wait until it has sent the result
			}
			p.cancel()
			return &Response{}, nil
		case r := <-p.done:
			return r.resp, r.err
		case <-ctx.Done():
		}
		ended := c.contextError(ctx, "the expected answers did not arrive in time")
		if !c.pending.remove(p) {
			r := <-p.done
			return r.resp, r.err
		}
		switch {
		case g.drain(), g.untilTimeout && ended.Code() == codes.DeadlineExceeded:
			return &Response{}, nil
		case ended.Code() == codes.Canceled:
			p.cancel()
		}
		return nil, ended
	}
}
