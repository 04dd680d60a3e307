package rpc

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
)

// maxAnswers bounds what one Gather keeps.
const maxAnswers = 10_000

// Answer is what one server answered to a Gather: exactly one of Resp and Err is set.
type Answer[Resp any] struct {
	// Server is the id of the instance; "" when it did not say.
	Server string
	// Resp is the answer.
	Resp *Resp
	// Err is what it failed with; Remote unless the answer could not be decoded.
	Err *Error
}

// Gather calls method of every server instance that reads topic, and gathers their
// answers, one of each, in the order they come. For every instance to read every
// request the servers need the [Broadcast] option; of servers that share a topic's
// requests in a group one answers.
//
// It ends when Expect or Until is met, or the time is over. Then the answers so far
// are returned, whatever the error is: nil when the condition was met, and when there
// is none at the end of the timeout or of ctx's deadline; otherwise an *Error that
// says why it ended. The remaining servers' handlers are cancelled as those of Call
// are. A retry policy applies to sending only; its AttemptTimeout does not. At most 10,000
// answers are kept.
func Gather[Resp any](ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) ([]Answer[Resp], error) {
	x, err := c.outgoing(topic, method, req, opts)
	if err != nil {
		return nil, err
	}
	s := &x.settings
	enough, ok := s.until.(func([]Answer[Resp]) bool)
	if s.until != nil && !ok {
		return nil, invalidOption("Until's answers are of another type than Gather's").of(method, topic)
	}
	var answers []Answer[Resp]
	s.kind = forReplies
	s.gather = &gathering{arrived: make(chan struct{}, 1), seen: map[string]struct{}{}, open: s.expect == 0 && enough == nil}
	s.gather.take = func(r reply) bool {
		a := Answer[Resp]{Server: r.server, Err: r.err}
		if a.Err == nil {
			a.Resp, a.Err = decode[Resp](c, r.contentType, r.body)
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

// gathering is the replies to one request on their way to the gathering goroutine,
// which alone calls take.
type gathering struct {
	take    func(reply) (enough bool)
	open    bool          // it ends with its time, and that is no failure
	arrived chan struct{} // holds one token when something came

	mu   sync.Mutex
	came []reply
	seen map[string]struct{} // servers that answered
}

type reply struct {
	server, contentType string
	body                []byte
	err                 *Error
}

// add keeps a reply; false when its server has answered before.
func (g *gathering) add(r reply) bool {
	g.mu.Lock()
	_, again := g.seen[r.server]
	if again || len(g.seen) >= maxAnswers {
		g.mu.Unlock()
		return false
	}
	g.seen[r.server] = struct{}{}
	g.came = append(g.came, r)
	g.mu.Unlock()
	select {
	case g.arrived <- struct{}{}:
	default:
	}
	return true
}

// drain takes what came, and says whether that is enough.
func (g *gathering) drain() bool {
	g.mu.Lock()
	came := g.came
	g.came = nil
	g.mu.Unlock()
	for _, r := range came {
		if g.take(r) {
			return true
		}
	}
	return false
}

// gather is await for a call that takes many replies. It ends p.
func (c *Client) gather(ctx context.Context, p *pending) (*Response, *Error) {
	g := p.gather
	for {
		select {
		case <-g.arrived:
			if !g.drain() {
				continue
			}
			c.withdraw(p)
			return &Response{}, nil
		case end := <-p.done:
			return end.resp, end.err
		case <-ctx.Done():
		}
		ended := c.ended(ctx, "the expected answers did not come before the call ended")
		if !c.calls.remove(p) {
			end := <-p.done
			return end.resp, end.err
		}
		switch {
		case g.drain(), g.open && ended.Code() == codes.DeadlineExceeded:
			return &Response{}, nil
		case ended.Code() == codes.Canceled:
			p.cancel()
		}
		return nil, ended
	}
}

// withdraw ends a gathering that has enough.
func (c *Client) withdraw(p *pending) {
	if !c.calls.remove(p) {
		<-p.done // it was being ended meanwhile
	}
	p.cancel()
}
