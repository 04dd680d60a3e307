// Package replay provides the replay cache of a server. With it the server answers a
// repeated request with the reply to the first delivery, instead of running the handler
// again.
package replay

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/lazyctx"
)

// Reply is the content of a reply. It must not be changed once it is in the cache.
type Reply struct {
	// Caller, ID and Attempt are those of the request that the reply was made for.
	Caller, ID string
	Attempt    int

	ContentType string
	Metadata    map[string]string
	Body        []byte
	Status      *status.Status // nil for OK

	// DeadLetter is why the request belongs on the dead-letter topic; nil if it does not.
	DeadLetter error
	// Declined means that nothing is sent.
	Declined bool
}

// overhead estimates the size of an entry in bytes, without the texts and the body of its
// reply.
const overhead = 384

func (r *Reply) size() int {
	n := overhead + len(r.Caller) + len(r.ID) + len(r.ContentType) + len(r.Body) + len(r.Status.Message())
	for k, v := range r.Metadata {
		n += len(k) + len(v)
	}
	for _, d := range r.Status.Proto().GetDetails() {
		n += len(d.GetTypeUrl()) + len(d.GetValue())
	}
	return n
}

// answers reports whether the reply also answers f. A response answers every repetition. An
// error answers only the same attempt and earlier ones: a later attempt, or another call
// with the same idempotency key, runs the request again.
func (r *Reply) answers(f *frame.Frame) bool {
	return r.Status == nil || r.Caller == f.Caller && r.ID == f.ID && f.Attempt <= r.Attempt
}

// Errors of Begin.
var (
	// ErrCanceled means that the caller has canceled the request.
	ErrCanceled error = &statusError{status.New(codes.Canceled, "the caller canceled the call"), context.Canceled}
	// ErrNotBegun means that there is no reply to the request, and that it must not be run.
	ErrNotBegun = errors.New("the request was not begun")
)

type statusError struct {
	st    *status.Status
	cause error
}

func (e *statusError) Error() string              { return e.st.Message() }
func (e *statusError) GRPCStatus() *status.Status { return e.st }
func (e *statusError) Unwrap() error              { return e.cause }

// Key identifies a request. It consists of caller and id. If the request has an idempotency
// key, it consists of topic, method and that key instead.
type Key struct{ caller, id string }

// KeyOf returns the key of the request f that was read from topic.
func KeyOf(topic string, f *frame.Frame) Key {
	if f.IdempotencyKey != "" {
		return Key{"\x00" + topic + "\x00" + f.Method, f.IdempotencyKey}
	}
	return CallKey(f)
}

// CallKey returns the key of the call that f belongs to.
func CallKey(f *frame.Frame) Key { return Key{f.Caller, f.ID} }

// maxCanceled is how many cancel messages are stored for requests that have not arrived.
const maxCanceled = 1024

// Cache holds the requests that run and the replies to those that have ended. A repeated
// request waits for the first one if that still runs, and gets its reply. The number and
// the bytes of the replies are limited. The cache drops the least recently used reply
// first. The server's concurrency bounds the requests that run. All methods are safe for
// concurrent use.
type Cache struct {
	maxReplies, maxBytes int

	mu      sync.Mutex
	entries table
	done    recency
	bytes   int
	// canceled holds the keys of cancel messages that arrived before their requests. ring
	// holds the same keys in the order of arrival, and next is the oldest once it is full.
	canceled map[Key]struct{}
	ring     []Key
	next     int
}

// New returns a cache that keeps at most this number of replies, with at most this number
// of bytes. With 0 replies it keeps none.
func New(replies, bytes int) *Cache {
	return &Cache{maxReplies: replies, maxBytes: bytes, entries: newTable(), canceled: map[Key]struct{}{}}
}

// Entry is a request in the cache. It runs while reply is nil. The mutex of its cache
// guards it.
type Entry struct {
	// Own is memory in which the goroutine that runs the request can build the reply. It
	// must not be changed after Finish.
	Own Reply

	key     Key
	hash    uint64           // of key
	same    *Entry           // the next entry with this hash
	running *lazyctx.Context // of the handler, while it runs
	stopped bool             // by a cancel message
	reply   *Reply
	size    int           // of reply
	settled chan struct{} // made by the first request that waits; closed by Finish and Abandon
	// The neighbors in Cache.done; nil while the request runs.
	newer, older *Entry
}

// Begin returns either the reply to send, or an entry that the caller must Finish or
// Abandon after it has run the handler under running. While another goroutine runs the
// same request Begin waits for it, no longer than ctx. It returns ErrCanceled if the
// request was canceled before it arrived, and ErrNotBegun if the request has to be run
// and mayRun is false.
func (c *Cache) Begin(ctx context.Context, key Key, f *frame.Frame, running *lazyctx.Context, mayRun bool) (*Reply, *Entry, error) {
	hash := c.entries.hash(key)
	for {
		c.mu.Lock()
		e := c.entries.find(hash, key)
		switch {
		case e != nil && e.reply != nil && !e.reply.answers(f):
			c.drop(e)
			fallthrough
		case e == nil:
			e, err := c.enter(hash, key, running, mayRun)
			c.mu.Unlock()
			return nil, e, err
		case e.reply != nil:
			c.done.remove(e)
			c.done.add(e)
			r := e.reply
			c.mu.Unlock()
			return r, nil, nil
		}
		if e.settled == nil {
			e.settled = make(chan struct{})
		}
		settled := e.settled
		c.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// enter adds an entry for a request that must be run. c.mu is held.
func (c *Cache) enter(hash uint64, key Key, running *lazyctx.Context, mayRun bool) (*Entry, error) {
	if len(c.canceled) > 0 {
		if _, ok := c.canceled[key]; ok {
			return nil, ErrCanceled
		}
	}
	if !mayRun {
		return nil, ErrNotBegun
	}
	e := &Entry{key: key, hash: hash, running: running}
	c.entries.add(e)
	return e, nil
}

// Cancel ends the context of the handler that runs the request. If the request has not
// arrived, Cancel prevents it from being run.
func (c *Cache) Cancel(key Key) {
	hash := c.entries.hash(key)
	c.mu.Lock()
	e := c.entries.find(hash, key)
	var running *lazyctx.Context
	switch {
	case e == nil:
		c.remember(key)
	case e.reply == nil:
		e.stopped, running = true, e.running
	}
	c.mu.Unlock()
	if running != nil {
		running.EndWith(ErrCanceled)
	}
}

// remember adds key to canceled. c.mu is held.
func (c *Cache) remember(key Key) {
	if _, ok := c.canceled[key]; ok {
		return
	}
	if len(c.ring) < maxCanceled {
		c.ring = append(c.ring, key)
	} else {
		delete(c.canceled, c.ring[c.next])
		c.ring[c.next] = key
		c.next = (c.next + 1) % maxCanceled
	}
	c.canceled[key] = struct{}{}
}

// Finish stores the reply. Waiting requests get it. If the reply is too large to store, or
// the cache keeps no replies, one of them runs instead. Finish reports whether the request
// was canceled while it ran.
func (c *Cache) Finish(e *Entry, r *Reply) (canceled bool) {
	size := r.size()
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.settled != nil {
		close(e.settled)
	}
	if c.maxReplies == 0 || size > c.maxBytes {
		c.entries.remove(e)
		return e.stopped
	}
	e.reply, e.size, e.running = r, size, nil
	c.done.add(e)
	c.bytes += size
	for c.done.len > c.maxReplies || c.bytes > c.maxBytes {
		c.drop(c.done.oldest)
	}
	return e.stopped
}

// Abandon removes a request that has no reply, so that the next delivery of the request
// runs it.
func (c *Cache) Abandon(e *Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.settled != nil {
		close(e.settled)
	}
	c.entries.remove(e)
}

// drop removes a reply. c.mu is held.
func (c *Cache) drop(e *Entry) {
	c.done.remove(e)
	c.bytes -= e.size
	c.entries.remove(e)
}
