package rpc

import (
	"context"
	"sync"
)

// AsyncCall is a call that is under way. All methods are safe for concurrent use.
type AsyncCall[Resp any] struct {
	progress *progress
	cancel   context.CancelFunc
	done     chan struct{} // closed when resp and err are set
	resp     *Resp
	err      error
}

// CallAsync begins a call, of which it takes what [Call] does, and returns it. It
// returns when the request has been handed to the transport, so that calls made one
// after the other are sent in that order, or when the call has ended before. Until
// the reply reader is open, and while the transport has no room, it waits, no longer
// than the call may take. The call goes on under ctx: cancelling that cancels it.
func CallAsync[Resp any](ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) *AsyncCall[Resp] {
	a := &AsyncCall[Resp]{progress: newProgress(), done: make(chan struct{}), cancel: func() {}}
	x, err := c.outgoing(topic, method, req, opts)
	if err != nil {
		a.end(nil, err)
		return a
	}
	x.settings.progress = a.progress
	ctx, a.cancel = context.WithCancel(ctx)
	if !c.background.start(func() { a.end(finish[Resp](ctx, c, x)) }) {
		a.end(nil, errClosed.of(method, topic))
		return a
	}
	select {
	case <-a.progress.handed:
	case <-a.done:
	}
	return a
}

func (a *AsyncCall[Resp]) end(resp *Resp, err error) {
	a.resp, a.err = resp, err
	a.cancel()
	close(a.done)
}

// Sent waits until the transport's log has the request, and returns nil then; what
// the call failed with when it ended before that was known; and the context's error
// when ctx ends first, which does not touch the call.
func (a *AsyncCall[Resp]) Sent(ctx context.Context) error {
	select {
	case <-a.progress.sent:
		return nil
	default:
	}
	select {
	case <-a.progress.sent:
		return nil
	case <-a.done:
		select {
		case <-a.progress.sent:
			return nil
		default:
			return a.err // nil: the answer came before the outcome
		}
	case <-ctx.Done():
		return contextError(ctx, "whether the request was sent is not known yet")
	}
}

// Done is closed when the call has ended: Reply does not wait any more.
func (a *AsyncCall[Resp]) Done() <-chan struct{} { return a.done }

// Reply waits for the end of the call and returns the answer, or what the call
// failed with; as often as it is asked. When ctx ends first it returns the context's
// error, and the call goes on.
func (a *AsyncCall[Resp]) Reply(ctx context.Context) (*Resp, error) {
	select {
	case <-a.done:
		return a.resp, a.err
	default:
	}
	select {
	case <-a.done:
		return a.resp, a.err
	case <-ctx.Done():
		return nil, contextError(ctx, "the call has not ended yet")
	}
}

// Cancel ends the call with codes.Canceled, unless it has ended, and tells the server
// as well as that can be done. It does not wait.
func (a *AsyncCall[Resp]) Cancel() { a.cancel() }

// progress is how far an asynchronous call has got. Each channel is closed once.
type progress struct {
	handing, sending sync.Once
	handed, sent     chan struct{}
}

func newProgress() *progress {
	return &progress{handed: make(chan struct{}), sent: make(chan struct{})}
}

func (p *progress) isHanded() { p.handing.Do(func() { close(p.handed) }) }
func (p *progress) isSent()   { p.sending.Do(func() { close(p.sent) }) }

// background are the goroutines of a client's asynchronous calls.
type background struct {
	mu     sync.Mutex
	closed bool
	all    sync.WaitGroup
}

// start runs f on a goroutine; false after close.
func (b *background) start(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.all.Go(f)
	return true
}

// close waits for those that run; each ends at once when its client is closed.
func (b *background) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.all.Wait()
}
