package rpc

import (
	"container/list"
	"context"
	"sync"

	"google.golang.org/grpc/status"
)

// answer is what a handler answered; it does not change.
type answer struct {
	attempt     int
	contentType string
	metadata    Metadata
	body        []byte
	st          *status.Status // nil for OK
}

func (a *answer) size() int {
	n := 256 + len(a.contentType) + len(a.body) + len(a.st.Message())
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
	entries map[replayKey]*replayEntry
	done    *list.List // of *replayEntry with an answer, the most recently used first
	bytes   int
}

type replayKey struct{ caller, id string }

// replayEntry is in flight while answer is nil. Its cache's mutex guards it.
type replayEntry struct {
	key     replayKey
	answer  *answer
	place   *list.Element // in done; nil in flight
	settled chan struct{} // made by the first that joins; closed by finish and give up
}

func newReplayCache(answers, bytes int) *replayCache {
	return &replayCache{maxAnswers: answers, maxBytes: bytes, entries: map[replayKey]*replayEntry{}, done: list.New()}
}

// begin returns the answer to replay, or the entry that is the caller's to finish or
// give up. It waits under ctx while somebody else works on the request.
func (c *replayCache) begin(ctx context.Context, key replayKey, attempt int) (*answer, *replayEntry, error) {
	for {
		c.mu.Lock()
		e, ok := c.entries[key]
		switch {
		case !ok:
			e = &replayEntry{key: key}
			c.entries[key] = e
			c.mu.Unlock()
			return nil, e, nil
		case e.answer != nil && e.answer.st != nil && attempt > e.answer.attempt:
			// The caller knows of the error and asks again.
			c.drop(e)
			e = &replayEntry{key: key}
			c.entries[key] = e
			c.mu.Unlock()
			return nil, e, nil
		case e.answer != nil:
			c.done.MoveToFront(e.place)
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

// finish keeps the answer. Those who joined find it, or run the request again if it
// does not fit.
func (c *replayCache) finish(e *replayEntry, a *answer) {
	size := a.size()
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.settled != nil {
		close(e.settled)
	}
	if c.maxAnswers == 0 || size > c.maxBytes {
		delete(c.entries, e.key)
		return
	}
	e.answer = a
	e.place = c.done.PushFront(e)
	c.bytes += size
	for c.done.Len() > c.maxAnswers || c.bytes > c.maxBytes {
		c.drop(c.done.Back().Value.(*replayEntry))
	}
}

// giveUp lets go of a request that was not answered: whoever comes next runs it.
func (c *replayCache) giveUp(e *replayEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.settled != nil {
		close(e.settled)
	}
	delete(c.entries, e.key)
}

// drop forgets an answer; c.mu is held.
func (c *replayCache) drop(e *replayEntry) {
	c.done.Remove(e.place)
	c.bytes -= e.answer.size()
	delete(c.entries, e.key)
}
