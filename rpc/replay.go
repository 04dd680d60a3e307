package rpc

import (
	"context"
	"hash/maphash"
	"math/bits"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// answer is what a handler answered; it does not change.
type answer struct {
	caller, id  string // of the request it was made for
	attempt     int
	contentType string
	metadata    Metadata
	body        []byte
	st          *status.Status // nil for OK
	letter      *Error         // why the request is a dead letter; nil for none
	declined    bool           // there is no answer
}

// errNoAnswer is returned by a handler of this package that does not answer.
var errNoAnswer = newError(codes.Unimplemented, "no answer", nil)

// errCanceled says that the caller does not wait any more.
var errCanceled = newError(codes.Canceled, "the caller canceled the call", context.Canceled)

func (a *answer) size() int {
	n := 384 + len(a.caller) + len(a.id) + len(a.contentType) + len(a.body) + len(a.st.Message())
	for k, v := range a.metadata {
		n += len(k) + len(v)
	}
	for _, d := range a.st.Proto().GetDetails() {
		n += len(d.GetTypeUrl()) + len(d.GetValue())
	}
	return n
}

// replayCache answers a request that comes again with its first answer: one that is
// being worked on is joined, one that is done is replayed. What is done is bounded,
// the least recently used goes first; what is being worked on is bounded by the
// server's concurrency.
type replayCache struct {
	maxAnswers, maxBytes int

	mu      sync.Mutex
	entries replayTable
	done    recency
	bytes   int
	// canceled remembers the last notices for requests that were not there yet; ring is
	// where they are overwritten, next where to go on.
	canceled map[replayKey]struct{}
	ring     []replayKey
	next     int
}

// maxCanceled bounds what is remembered of requests that are canceled before they begin.
const maxCanceled = 1024

// replayKey tells requests apart: by caller and id, or, with an idempotency key, by
// what it is for and that key.
type replayKey struct{ caller, id string }

func replayKeyOf(topic string, f *Frame) replayKey {
	if f.IdempotencyKey != "" {
		return replayKey{"\x00" + topic + "\x00" + f.Method, f.IdempotencyKey}
	}
	return replayKey{f.Caller, f.ID}
}

// errNotBegun says that the request has no answer yet and was not to be begun.
var errNotBegun = newError(codes.Unavailable, "not begun", nil)

// replayEntry is in flight while answer is nil. Its cache's mutex guards it.
type replayEntry struct {
	key     replayKey
	hash    uint64       // of key
	same    *replayEntry // the next one with this hash
	running *lazyContext // of the handler, while in flight
	stopped bool         // by its caller
	answer  *answer
	size    int           // of answer
	settled chan struct{} // made by the first that joins; closed by finish and give up
	own     answer        // becomes answer; before that it is of who began the entry
	// The neighbours in done; nil in flight.
	newer, older *replayEntry
}

func newReplayCache(answers, bytes int) *replayCache {
	return &replayCache{maxAnswers: answers, maxBytes: bytes, entries: newReplayTable(), canceled: map[replayKey]struct{}{}}
}

// begin returns the answer to replay, or the entry that is the caller's to finish or
// give up, whose handler's context is running. It waits under ctx while somebody else
// works on the request. It fails with errCanceled when the request's caller has gone,
// and, unless it may be run, with errNotBegun when it would have to be.
func (c *replayCache) begin(ctx context.Context, key replayKey, f *Frame, running *lazyContext, mayRun bool) (*answer, *replayEntry, error) {
	hash := c.entries.hash(key)
	for {
		c.mu.Lock()
		e := c.entries.find(hash, key)
		switch {
		case e != nil && e.answer != nil && !e.answer.holds(f):
			c.drop(e)
			fallthrough
		case e == nil:
			e, err := c.enter(hash, key, running, mayRun)
			c.mu.Unlock()
			return nil, e, err
		case e.answer != nil:
			c.done.remove(e)
			c.done.add(e)
			a := e.answer
			c.mu.Unlock()
			return a, nil, nil
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

// enter makes the entry of a request that is begun. c.mu is held.
func (c *replayCache) enter(hash uint64, key replayKey, running *lazyContext, mayRun bool) (*replayEntry, error) {
	if len(c.canceled) > 0 {
		if _, ok := c.canceled[key]; ok {
			return nil, errCanceled
		}
	}
	if !mayRun {
		return nil, errNotBegun
	}
	e := &replayEntry{key: key, hash: hash, running: running}
	c.entries.add(e)
	return e, nil
}

// holds says whether the answer is one to f, too. Who knows of an error, and asks
// again, is to get another chance: a later attempt, or another call that the same
// idempotency key makes the same request.
func (a *answer) holds(f *Frame) bool {
	return a.st == nil || a.caller == f.Caller && a.id == f.ID && f.Attempt <= a.attempt
}

// cancel ends the handler that runs for key, or keeps it from being begun.
func (c *replayCache) cancel(key replayKey) {
	hash := c.entries.hash(key)
	c.mu.Lock()
	e := c.entries.find(hash, key)
	var running *lazyContext
	switch {
	case e == nil:
		c.remember(key)
	case e.answer == nil:
		e.stopped, running = true, e.running
	}
	c.mu.Unlock()
	if running != nil {
		running.endWith(errCanceled)
	}
}

// remember keeps key among the canceled. c.mu is held.
func (c *replayCache) remember(key replayKey) {
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

// finish keeps the answer. Those who joined find it, or run the request again if it
// does not fit. It returns true when the caller has gone meanwhile.
func (c *replayCache) finish(e *replayEntry, a *answer) (stopped bool) {
	size := a.size()
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.settled != nil {
		close(e.settled)
	}
	if c.maxAnswers == 0 || size > c.maxBytes {
		c.entries.remove(e)
		return e.stopped
	}
	e.answer, e.size, e.running = a, size, nil
	c.done.add(e)
	c.bytes += size
	for c.done.len > c.maxAnswers || c.bytes > c.maxBytes {
		c.drop(c.done.oldest)
	}
	return e.stopped
}

// giveUp lets go of a request that was not answered: whoever comes next runs it.
func (c *replayCache) giveUp(e *replayEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.settled != nil {
		close(e.settled)
	}
	c.entries.remove(e)
}

// drop forgets an answer; c.mu is held.
func (c *replayCache) drop(e *replayEntry) {
	c.done.remove(e)
	c.bytes -= e.size
	c.entries.remove(e)
}

// replayTable finds entries by their keys. It has their hashes only: what goes is what
// was used longest ago, and reading its key again would cost more than all the rest.
type replayTable struct {
	seed   maphash.Seed
	byHash map[uint64]*replayEntry // entries with one hash are linked by same
}

func newReplayTable() replayTable {
	return replayTable{maphash.MakeSeed(), map[uint64]*replayEntry{}}
}

func (t *replayTable) hash(key replayKey) uint64 {
	return bits.RotateLeft64(maphash.String(t.seed, key.caller), 32) ^ maphash.String(t.seed, key.id)
}

// find returns nil when there is none.
func (t *replayTable) find(hash uint64, key replayKey) *replayEntry {
	e := t.byHash[hash]
	for e != nil && e.key != key {
		e = e.same
	}
	return e
}

func (t *replayTable) add(e *replayEntry) {
	e.same = t.byHash[e.hash]
	t.byHash[e.hash] = e
}

func (t *replayTable) remove(e *replayEntry) {
	first := t.byHash[e.hash]
	switch {
	case first != e:
		before := first
		for before.same != e {
			before = before.same
		}
		before.same = e.same
	case e.same != nil:
		t.byHash[e.hash] = e.same
	default:
		delete(t.byHash, e.hash)
	}
	e.same = nil
}

// recency is a list of entries with an answer, the most recently used first, linked
// through them: a list of its own elements would cost each request an allocation.
type recency struct {
	newest, oldest *replayEntry
	len            int
}

// add makes e, which is not in the list, the newest.
func (l *recency) add(e *replayEntry) {
	e.older = l.newest
	if l.newest != nil {
		l.newest.newer = e
	} else {
		l.oldest = e
	}
	l.newest = e
	l.len++
}

func (l *recency) remove(e *replayEntry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		l.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		l.oldest = e.newer
	}
	e.newer, e.older = nil, nil
	l.len--
}
