package rpc

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
)

// deleteTimeout is how long a client that is closed tries to delete its reply topic.
const deleteTimeout = 5 * time.Second

// replyPrefix begins the name of every reply topic.
const replyPrefix = "trunkline.reply."

// replyReader reads a reply topic for the clients of one bus, for as long as there is
// one. Its goroutine, run, makes the topic and the subscription and does so again when
// they are lost.
type replyReader struct {
	bus     *bus.Bus
	id      string // "<name>.<instance>", unique
	topic   string
	spec    bus.TopicSpec // of the topic
	shared  bool          // the topic is other instances', too: it stays, and one partition is read
	wire    Wire
	logger  *slog.Logger
	key     readerKey // where it is kept; "own" for nowhere
	frames  sync.Pool // of *Frame
	notices *notices

	open      atomic.Bool  // the fast path of wait
	partition atomic.Int32 // that replies are to come to, or AnyPartition
	closing   context.Context
	stop      context.CancelFunc
	ended     chan struct{} // closed by run, last of all

	foreign, undecodable atomic.Uint64 // replies that are for no client

	// Where to go on: the handler's while a subscription lives, run's otherwise.
	replay  bool  // the transport can start at an offset
	next    int64 // the offset after the last reply; -1 for none yet
	skipped int64 // records in a row that could not be read

	mu      sync.RWMutex
	clients map[string]*Client // by id
	changed chan struct{}      // closed and replaced when one of the following changes
	refused *Error             // calls fail with it at once; nil for none
	cause   error              // why it is not open, for those whose time runs out
	sub     *bus.Subscription
}

// newReplyReader makes the reader that c is the first client of.
func newReplyReader(c *Client, key readerKey) *replyReader {
	r := &replyReader{
		bus: c.bus, id: c.cfg.name + "." + newInstance(), spec: c.cfg.replies.spec, shared: c.cfg.replies.shared,
		wire: c.cfg.wire, logger: c.cfg.logger, key: key, notices: newNotices(c.bus), ended: make(chan struct{}),
		replay: c.bus.Capabilities().Replay, next: -1, clients: map[string]*Client{}, changed: make(chan struct{}),
	}
	r.partition.Store(AnyPartition)
	if !r.shared {
		r.spec.Name, r.spec.Partitions = replyPrefix+r.id, 1
	}
	r.topic = r.spec.Name
	r.closing, r.stop = context.WithCancel(context.Background())
	go r.run(r.closing) // close waits for it
	return r
}

// add takes a client, whose calls end with the reader's final error if it has one.
func (r *replyReader) add(c *Client) {
	r.mu.Lock()
	r.clients[c.id] = c
	refused := r.refused
	r.mu.Unlock()
	if refused != nil && refused.terminal {
		c.calls.close(refused)
	}
}

// remove returns true when c was the last.
func (r *replyReader) remove(c *Client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.clients, c.id)
	return len(r.clients) == 0
}

func (r *replyReader) client(id string) *Client {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.clients[id]
}

// wait returns nil when the reader is open, for a client that ends with closing.
func (r *replyReader) wait(ctx, closing context.Context) *Error {
	for !r.open.Load() {
		if closing.Err() != nil {
			return errClosed
		}
		r.mu.RLock()
		changed, refused := r.changed, r.refused
		r.mu.RUnlock()
		if refused != nil {
			return refused
		}
		if r.open.Load() { // since before changed was read
			return nil
		}
		select {
		case <-changed:
		case <-closing.Done():
			return errClosed
		case <-ctx.Done():
			if closing.Err() != nil {
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
	r.mu.RLock()
	sub, cause := r.sub, r.cause
	r.mu.RUnlock()
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
		case bus.CodeClosed:
			e.terminal = true
			r.set(false, nil, e, err)
			for _, c := range r.everyone() {
				c.calls.close(e)
			}
			return
		case bus.CodeUnauthenticated, bus.CodePermissionDenied, bus.CodeUnsupported, bus.CodeInvalidArgument:
			// Waiting is unlikely to mend it: calls are told, and it is tried again.
			r.set(false, nil, e, err)
		default:
			r.set(false, nil, nil, err)
		}
		r.logger.WarnContext(ctx, "the reply reader is not open", "topic", r.topic, "error", err)
		if !sleep(ctx, back.pause(failures)) {
			return
		}
	}
}

var errDrained = errors.New("the subscription was closed")

func (r *replyReader) everyone() []*Client {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Values(r.clients))
}

// read makes topic and subscription and waits until the subscription ends. It
// returns whether it was open, and why it ended.
func (r *replyReader) read(ctx context.Context) (opened bool, err error) {
	making, cancel := context.WithTimeout(ctx, 30*time.Second)
	err = r.locate(making)
	cancel()
	if err != nil {
		return false, err
	}
	opts := []bus.SubscribeOption{bus.NoGroup(), r.position(), delivery.Reuse()}
	if p := r.partition.Load(); p >= 0 {
		opts = append(opts, bus.OnlyPartitions(p))
	}
	if r.bus.Capabilities().Ordered { // the cheapest for a handler that doesn't block
		opts = append(opts, bus.OrderByPartition())
	}
	sub, err := r.bus.Consume(ctx, r.topic, r.handle, opts...)
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
// the beginning of the topic, which is new and nobody else's, or at the mark in a
// shared one. Without replay it is the end, fixed before the subscription is ready.
func (r *replyReader) position() bus.SubscribeOption {
	switch {
	case !r.replay:
		return bus.FromNewest()
	case r.next < 0 && r.skipped == 0:
		return bus.FromOldest()
	}
	return bus.FromOffset(max(r.next, 0) + r.skipped)
}

// reposition sees to it that the next subscription does not end as the last one did.
func (r *replyReader) reposition(err error) {
	switch bus.CodeOf(err) {
	case bus.CodeUndecodable: // the record after the last that was handled is no message
		r.undecodable.Add(1)
		r.skipped++
	case bus.CodeNotFound, bus.CodeOutOfRange: // another topic now, or one that was truncated
		r.next, r.skipped = -1, 0
	}
}

func (r *replyReader) handle(_ context.Context, d *bus.Delivery) error {
	if r.replay { // then replies come in order, one at a time
		r.next, r.skipped = d.Record.Offset+1, 0
	}
	r.receive(d)
	return nil
}

// receive only matches and completes.
func (r *replyReader) receive(d *bus.Delivery) {
	f, ok := r.frames.Get().(*Frame)
	if !ok {
		f = new(Frame)
	}
	err := r.wire.Decode(d.Record, f)
	switch c := r.client(f.Caller); {
	case err == nil && f.Kind == KindRequest && f.Method == methodAlive:
		r.answerAlive(f)
	case c != nil:
		c.complete(f, err)
	case err != nil && f.Caller == "":
		r.undecodable.Add(1)
	case f.Caller != r.id: // its own is the mark
		r.foreign.Add(1)
	}
	*f = Frame{}
	r.frames.Put(f)
}

// sendCancel tells the server that a request, which went to partition, is not wanted
// any more. It has no key: it must not wait for what it is to end.
func (r *replyReader) sendCancel(c *Client, request *Frame, partition int32) {
	m := newRecord()
	err := c.cfg.wire.Encode(&Frame{Kind: KindCancel, ID: request.ID, Caller: request.Caller, Topic: request.Topic,
		ReplyPartition: AnyPartition, Attempt: request.Attempt}, m)
	if err != nil {
		return // a wire that knows no cancels
	}
	m.Topic = request.Topic
	if c.keyed {
		m.Partition = partition
	}
	if r.notices.send(m) {
		c.counters.cancels.Add(1)
	}
}

// close waits for run, and deletes the topic unless it is others', too.
func (r *replyReader) close(ctx context.Context) error {
	r.stop()
	r.notices.close()
	select {
	case <-r.ended:
	case <-ctx.Done():
		return newError(codes.DeadlineExceeded, "the reply reader did not end in time; topic "+r.topic+" is left behind", ctx.Err())
	}
	if r.shared || !r.bus.Capabilities().Topics {
		return nil
	}
	// A broker that is away for a moment shall not leave a topic behind for ever.
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	back := RetryPolicy{MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second}
	for attempt := 1; ; attempt++ {
		err := r.bus.DeleteTopic(ctx, r.topic)
		if err == nil {
			return nil
		}
		switch bus.CodeOf(err) {
		case bus.CodeNotFound, bus.CodeUnsupported:
			return nil // it is gone, or this transport can only make topics
		case bus.CodeUnavailable:
			if sleep(ctx, back.pause(attempt)) {
				continue
			}
		}
		return newError(publishError(err).Code(), "the reply topic is left behind: "+err.Error(), err)
	}
}
