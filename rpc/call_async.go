package rpc

import (
	"context"
	"sync"
)

// AsyncCall is a call in progress. All methods are safe for concurrent use.
type AsyncCall[Resp any] struct {
	progress *progress
	cancel   context.CancelFunc
	done     chan struct{} // closed when resp and err are set
	resp     *Resp
	err      error
}

// CallAsync starts a call and returns without waiting for its response. Its arguments are
// those of [Call].
//
// CallAsync returns when it has passed the request to the transport, or when the call has
// failed before that. Therefore the requests of calls that one goroutine starts one after
// another are sent in that order. CallAsync blocks until the reply reader is open, and
// while the queue of the transport is full, but not longer than the timeout of the call.
// The call continues under ctx: canceling ctx cancels the call.
func CallAsync[Resp any](ctx context.Context, c *Client, topic, method string, req any, opts ...CallOption) *AsyncCall[Resp] {
	a := &AsyncCall[Resp]{progress: newProgress(), done: make(chan struct{}), cancel: func() {}}
	x, err := c.outgoing(topic, method, req, opts)
	if err != nil {
		a.end(nil, err)
		return a
	}
	x.settings.progress = a.progress
	ctx, a.cancel = context.WithCancel(ctx) //nolint:gosec // a.end calls it
	if !c.background.start(func() { a.end(finish[Resp](ctx, c, x)) }) {
		a.end(nil, errClosed.of(method, topic))
		return a
	}
	select {
	case <-a.progress.submitted:
	case <-a.done:
	}
	return a
}

func (a *AsyncCall[Resp]) end(resp *Resp, err error) {
	a.resp, a.err = resp, err
	a.cancel()
	close(a.done)
}

// Sent waits until the transport's log has the request, and then returns nil. If the call
// fails before that is known, Sent returns the error of the call. If ctx ends first, Sent
// returns the error of ctx, and the call continues.
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
			return a.err // nil if the reply came before the outcome of publishing
		}
	case <-ctx.Done():
		return contextError(ctx, "it is not known yet whether the request was sent")
	}
}

// Done returns a channel that is closed when the call has ended. Reply then returns at
// once.
func (a *AsyncCall[Resp]) Done() <-chan struct{} { return a.done }

// Reply waits for the end of the call, and returns its response or its error. It may be
// called several times. If ctx ends first, Reply returns the error of ctx, and the call
// continues.
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

// Cancel ends the call with codes.Canceled, unless it has ended, and sends a cancel
// message to the server. It does not block.
func (a *AsyncCall[Resp]) Cancel() { a.cancel() }

// progress reports which steps of an asynchronous call are done. Each channel is closed
// once.
type progress struct {
	submitOnce, sendOnce sync.Once
	submitted            chan struct{} // the request was passed to the transport
	sent                 chan struct{} // the transport's log has the request
}

func newProgress() *progress {
	return &progress{submitted: make(chan struct{}), sent: make(chan struct{})}
}

func (p *progress) markSubmitted() { p.submitOnce.Do(func() { close(p.submitted) }) }
func (p *progress) markSent()      { p.sendOnce.Do(func() { close(p.sent) }) }

// background runs the asynchronous calls of a client.
type background struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// start runs f on a goroutine. After close it returns false and does nothing.
func (b *background) start(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.running.Go(f)
	return true
}

// close waits for the calls. The client must have ended their contexts before, so the wait
// is short.
func (b *background) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.running.Wait()
}
