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

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/replytopic"
)

// replyReader reads a reply topic for one or several clients of a bus. Its goroutine, run,
// creates the topic and the subscription, and does so again when they are lost.
type replyReader struct {
	bus    *bus.Bus
	id     string // "<name>.<random>", unique
	topic  string
	spec   bus.TopicSpec // of the topic
	shared bool          // other instances use the topic too: one partition is read, and the topic is not deleted
	wire   frame.Wire
	logger *slog.Logger
	key    readerKey // its key in replyReaders
	frames sync.Pool // of *frame.Frame
	sender *sender   // of cancel messages

	open      atomic.Bool  // the fast path of wait
	partition atomic.Int32 // the partition for replies, or bus.AnyPartition
	closing   context.Context
	stop      context.CancelFunc
	ended     chan struct{} // closed at the end of run

	foreign, undecodable atomic.Uint64 // replies that belong to no client of this reader

	// The following fields are where to continue reading. While a subscription exists, only
	// its handler uses them. Otherwise only run does.
	replay  bool  // the transport can start at an offset
	next    int64 // the offset after the last reply; -1 for none yet
	skipped int64 // undecodable records in a row after next

	mu      sync.RWMutex
	clients map[string]*Client // by id
	changed chan struct{}      // closed and replaced when one of the following fields changes
	callErr *Error             // calls fail with it at once; nil for none
	cause   error              // why the reader is not open
	sub     *bus.Subscription
}

// newReplyReader returns the reader for c and for further clients.
func newReplyReader(c *Client, key readerKey) *replyReader {
	r := &replyReader{
		bus: c.bus, id: c.cfg.name + "." + newInstance(), spec: c.cfg.replies.spec, shared: c.cfg.replies.shared,
		wire: c.cfg.wire, logger: c.cfg.logger, key: key, sender: newSender(c.bus), ended: make(chan struct{}),
		replay: c.bus.Capabilities().Replay, next: -1, clients: map[string]*Client{}, changed: make(chan struct{}),
	}
	r.partition.Store(bus.AnyPartition)
	if !r.shared {
		r.spec.Name, r.spec.Partitions = replytopic.Prefix+r.id, 1
	}
	r.topic = r.spec.Name
	r.closing, r.stop = context.WithCancel(context.Background())
	go r.run(r.closing) // close waits for it
	return r
}

// add adds a client. If the bus is closed it ends the calls of the client.
func (r *replyReader) add(c *Client) {
	r.mu.Lock()
	r.clients[c.id] = c
	callErr := r.callErr
	r.mu.Unlock()
	if callErr != nil && callErr.permanent {
		c.pending.close(callErr)
	}
}

// remove returns true if c was the last client.
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

func (r *replyReader) allClients() []*Client {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Values(r.clients))
}

// wait returns nil when the reader is open. closing is the context of the client.
func (r *replyReader) wait(ctx, closing context.Context) *Error {
	for !r.open.Load() {
		if closing.Err() != nil {
			return errClosed
		}
		r.mu.RLock()
		changed, callErr := r.changed, r.callErr
		r.mu.RUnlock()
		if callErr != nil {
			return callErr
		}
		if r.open.Load() { // it was opened before changed was read
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
			e := contextError(ctx, "the client cannot receive replies yet")
			if why := r.why(); why != nil {
				e = newError(e.Code(), e.Message()+": "+why.Error(), errors.Join(e.cause, why))
			}
			return e
		}
	}
	return nil
}

// why returns what prevents the reader from being open, or nil if that is unknown.
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

func (r *replyReader) set(open bool, sub *bus.Subscription, callErr *Error, cause error) {
	r.mu.Lock()
	r.sub, r.callErr, r.cause = sub, callErr, cause
	r.open.Store(open)
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
}

// run keeps the reader open until ctx ends or the bus is closed.
func (r *replyReader) run(ctx context.Context) {
	defer close(r.ended)
	backoff := RetryPolicy{MinBackoff: 50 * time.Millisecond, MaxBackoff: 5 * time.Second}
	for failures := 1; ; failures++ {
		opened, err := r.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errDrained) { // the bus is closing: the next attempt returns bus.CodeClosed
			continue
		}
		if opened {
			failures = 1
		}
		e := busError("the client cannot receive replies: ", err)
		switch bus.CodeOf(err) {
		case bus.CodeClosed:
			r.set(false, nil, e, err)
			for _, c := range r.allClients() {
				c.pending.close(e)
			}
			return
		case bus.CodeUnauthenticated, bus.CodePermissionDenied, bus.CodeUnsupported, bus.CodeInvalidArgument:
			// Waiting rarely fixes these errors: calls fail at once, while run tries again.
			r.set(false, nil, e, err)
		default:
			r.set(false, nil, nil, err)
		}
		r.logger.WarnContext(ctx, "rpc: the client cannot receive replies, and tries again", "topic", r.topic, "error", err)
		if !sleep(ctx, backoff.pause(failures)) {
			return
		}
	}
}

var errDrained = errors.New("the subscription was closed")

// read creates the topic and the subscription, and waits until the subscription ends. It
// returns whether the reader was open, and why the subscription ended.
func (r *replyReader) read(ctx context.Context) (opened bool, err error) {
	preparing, cancel := context.WithTimeout(ctx, 30*time.Second)
	err = r.prepareTopic(preparing)
	cancel()
	if err != nil {
		return false, err
	}
	opts := []bus.SubscribeOption{bus.NoGroup(), r.position(), delivery.Reuse()}
	if p := r.partition.Load(); p >= 0 {
		opts = append(opts, bus.OnlyPartitions(p))
	}
	if r.bus.Capabilities().Ordered { // the fastest order, because the handler does not block
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
	<-sub.Done() // ctx ends it too
	if e := sub.Err(); e != nil {
		err = e
	}
	if err == nil {
		err = errDrained
	}
	r.reposition(err)
	return opened, err
}

// position returns where the next subscription starts: after the last reply that was read.
// If none was read, it starts at the mark in a shared topic (see prepareTopic), and at the
// beginning of any other topic. A transport without replay starts at the end of the topic.
// It determines the end before the subscription is ready.
func (r *replyReader) position() bus.SubscribeOption {
	switch {
	case !r.replay:
		return bus.FromNewest()
	case r.next < 0 && r.skipped == 0:
		return bus.FromOldest()
	}
	return bus.FromOffset(max(r.next, 0) + r.skipped)
}

// reposition sets where the next subscription starts, if err requires a change.
func (r *replyReader) reposition(err error) {
	switch bus.CodeOf(err) {
	case bus.CodeUndecodable: // the record after the last one that was handled
		r.undecodable.Add(1)
		r.skipped++
	case bus.CodeNotFound, bus.CodeOutOfRange: // the topic was created again, or truncated
		r.next, r.skipped = -1, 0
	}
}

func (r *replyReader) handle(_ context.Context, d *bus.Delivery) error {
	if r.replay { // then replies arrive in order, one at a time
		r.next, r.skipped = d.Record.Offset+1, 0
	}
	r.receive(d.Record)
	return nil
}

// receive passes a reply to its client. It does not block.
func (r *replyReader) receive(record *bus.Record) {
	f, ok := r.frames.Get().(*frame.Frame)
	if !ok {
		f = new(frame.Frame)
	}
	err := r.wire.Decode(record, f)
	switch c := r.client(f.Caller); {
	case err == nil && f.Kind == frame.KindRequest && f.Method == replytopic.MethodAlive:
		r.answerAlive(f)
	case c != nil:
		c.complete(f, err)
	case err != nil && f.Caller == "":
		r.undecodable.Add(1)
	case f.Caller != r.id: // a frame with the reader's own id is the mark
		r.foreign.Add(1)
	}
	*f = frame.Frame{}
	r.frames.Put(f)
}
