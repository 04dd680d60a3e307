package rpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
)

// deleteTimeout is how long a client that is closed tries to delete its reply topic.
const deleteTimeout = 5 * time.Second

// replyPrefix begins the name of every reply topic.
const replyPrefix = "trunkline.reply."

// replyReader reads a client's reply topic for the client's life. Its goroutine,
// run, makes the topic and the subscription and does so again when they are lost.
type replyReader struct {
	client *Client
	open   atomic.Bool   // the fast path of wait
	ended  chan struct{} // closed by run, last of all

	// Where to go on: the handler's while a subscription lives, run's otherwise.
	replay  bool  // the transport can start at an offset
	next    int64 // the offset after the last reply; -1 for none yet
	skipped int64 // records in a row that could not be read

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when one of the following changes
	refused *Error        // calls fail with it at once; nil for none
	cause   error         // why it is not open, for those whose time runs out
	sub     *bus.Subscription
}

func newReplyReader(c *Client) *replyReader {
	return &replyReader{client: c, ended: make(chan struct{}), changed: make(chan struct{}),
		replay: c.bus.Capabilities().Replay, next: -1}
}

func (r *replyReader) start(ctx context.Context) { go r.run(ctx) }

// wait returns nil when the reader is open.
func (r *replyReader) wait(ctx context.Context) *Error {
	for !r.open.Load() {
		if r.client.closing.Err() != nil {
			return errClosed
		}
		r.mu.Lock()
		changed, refused := r.changed, r.refused
		r.mu.Unlock()
		if refused != nil {
			return refused
		}
		if r.open.Load() { // since before changed was read
			return nil
		}
		select {
		case <-changed:
		case <-r.client.closing.Done():
			return errClosed
		case <-ctx.Done():
			if r.client.closing.Err() != nil {
				return errClosed
			}
			e := contextError(ctx, "replies can't be received yet")
			if why := r.why(); why != nil {
				e = newError(e.Code(), e.Message()+": "+why.Error(), errors.Join(e.cause, why))
			}
			return e
		}
	}
	return nil
}

// why tells what keeps the reader from opening, nil when that is not known.
func (r *replyReader) why() error {
	r.mu.Lock()
	sub, cause := r.sub, r.cause
	r.mu.Unlock()
	if sub != nil {
		if _, c := sub.Assigned(); c != nil {
			return c
		}
	}
	return cause
}

func (r *replyReader) set(open bool, sub *bus.Subscription, refused *Error, cause error) {
	r.mu.Lock()
	r.sub, r.refused, r.cause = sub, refused, cause
	r.open.Store(open)
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
}

// run keeps the reader open until ctx ends or the bus is closed.
func (r *replyReader) run(ctx context.Context) {
	defer close(r.ended)
	back := RetryPolicy{MinBackoff: 50 * time.Millisecond, MaxBackoff: 5 * time.Second}
	for failures := 1; ; failures++ {
		opened, err := r.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == errDrained { // by the bus, which is closing: it will say so
			continue
		}
		if opened {
			failures = 1
		}
		e := newError(publishError(err).Code(), "replies can't be received: "+err.Error(), err)
		switch bus.CodeOf(err) {
		case bus.Closed:
			e.terminal = true
			r.client.calls.close(e)
			r.set(false, nil, e, err)
			return
		case bus.Unauthenticated, bus.PermissionDenied, bus.Unsupported, bus.InvalidArgument:
			// Waiting is unlikely to mend it: calls are told, and it is tried again.
			r.set(false, nil, e, err)
		default:
			r.set(false, nil, nil, err)
		}
		r.client.cfg.logger.WarnContext(ctx, "the reply reader is not open", "topic", r.client.replyTo, "error", err)
		if !sleep(ctx, back.pause(failures)) {
			return
		}
	}
}

var errDrained = errors.New("the subscription was closed")

// read makes topic and subscription and waits until the subscription ends. It
// returns whether it was open, and why it ended.
func (r *replyReader) read(ctx context.Context) (opened bool, err error) {
	b := r.client.bus
	spec := r.client.cfg.replyTopic
	spec.Name, spec.Partitions = r.client.replyTo, 1
	making, cancel := context.WithTimeout(ctx, 30*time.Second)
	err = b.EnsureTopic(making, spec)
	cancel()
	if err != nil {
		return false, err
	}
	opts := []bus.SubscribeOption{bus.NoGroup(), bus.StartAt(r.position())}
	if b.Capabilities().Ordered { // the cheapest for a handler that doesn't block
		opts = append(opts, bus.OrderByPartition())
	}
	sub, err := b.Consume(ctx, r.client.replyTo, r.handle, opts...)
	if err != nil {
		return false, err
	}
	r.set(false, sub, nil, nil)
	if err = sub.Ready(ctx); err == nil {
		opened = true
		r.set(true, sub, nil, nil)
	}
	<-sub.Done() // it ends with ctx too
	if e := sub.Err(); e != nil {
		err = e
	}
	if err == nil {
		err = errDrained
	}
	r.reposition(err)
	return opened, err
}

// position is where to start: after the last reply that was read, and at first at
// the beginning of the topic, which is new and nobody else's. Without replay it is
// the end, fixed before the subscription is ready.
func (r *replyReader) position() bus.Start {
	switch {
	case !r.replay:
		return bus.Newest()
	case r.next < 0 && r.skipped == 0:
		return bus.Oldest()
	}
	return bus.AtOffset(max(r.next, 0) + r.skipped)
}

// reposition sees to it that the next subscription does not end as the last one did.
func (r *replyReader) reposition(err error) {
	switch bus.CodeOf(err) {
	case bus.Undecodable: // the record after the last that was handled is no message
		r.client.counters.undecodable.Add(1)
		r.skipped++
	case bus.NotFound, bus.OutOfRange: // another topic now, or one that was truncated
		r.next, r.skipped = -1, 0
	}
}

func (r *replyReader) handle(_ context.Context, d *bus.Delivery) error {
	if r.replay { // then replies come in order, one at a time
		r.next, r.skipped = d.Record.Offset+1, 0
	}
	r.client.receive(d)
	return nil
}

// close waits for run, whose context has ended, and deletes the topic.
func (r *replyReader) close(ctx context.Context) error {
	select {
	case <-r.ended:
	case <-ctx.Done():
		return newError(codes.DeadlineExceeded, "the reply reader did not end in time; topic "+r.client.replyTo+" is left behind", ctx.Err())
	}
	b := r.client.bus
	if !b.Capabilities().Topics {
		return nil
	}
	// A broker that is away for a moment shall not leave a topic behind for ever.
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	back := RetryPolicy{MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second}
	for attempt := 1; ; attempt++ {
		err := b.DeleteTopic(ctx, r.client.replyTo)
		if err == nil {
			return nil
		}
		switch bus.CodeOf(err) {
		case bus.NotFound, bus.Unsupported:
			return nil // it is gone, or this transport can only make topics
		case bus.Unavailable:
			if sleep(ctx, back.pause(attempt)) {
				continue
			}
		}
		return newError(publishError(err).Code(), "the reply topic is left behind: "+err.Error(), err)
	}
}
