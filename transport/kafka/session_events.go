package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
)

// session is a driver.Session as the transport uses it.
type session interface {
	driver.Session
	run()   // returns when the session has ended
	reset() // closes the session's connections; new ones can be opened
}

// sessionEvents is the part that both kinds of session share: the event that Next returns,
// and the end of the session. It merges everything that happens between two calls of Next
// into one event.
type sessionEvents struct {
	sub  driver.Subscription
	ctx  context.Context // of the session's work
	stop context.CancelFunc
	done chan struct{} // closed when run has returned

	mu       sync.Mutex
	assigned bool
	refused  bool          // a rejection of the credentials was reported
	next     *driver.Event // not yet returned by Next; nil if there is none
	added    []*claim      // the new claims of next; nothing else uses them until Next returns them
	final    error         // ends the session
	changed  chan struct{} // closed and replaced when next or final is set
	closing  bool
}

func newSessionEvents(t *Transport, s driver.Subscription) *sessionEvents {
	e := &sessionEvents{sub: s, done: make(chan struct{}), changed: make(chan struct{})}
	e.ctx, e.stop = context.WithCancel(t.ctx)
	return e
}

// Next implements driver.Session.
func (e *sessionEvents) Next(ctx context.Context) (driver.Event, error) {
	for {
		e.mu.Lock()
		switch {
		case e.closing:
			e.mu.Unlock()
			return driver.Event{}, e.closedError()
		case e.final != nil:
			defer e.mu.Unlock()
			return driver.Event{}, e.final
		case e.next != nil:
			defer e.mu.Unlock()
			ev := *e.next
			for _, c := range e.added {
				ev.Added = append(ev.Added, c)
			}
			e.next, e.added = nil, nil
			return ev, nil
		}
		changed := e.changed
		e.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return driver.Event{}, failCode(driver.ContextCode(ctx.Err()), "subscribe", e.sub.Topic, "", ctx.Err())
		}
	}
}

// reportAssigned reports that the session has an assignment, with these new claims.
func (e *sessionEvents) reportAssigned(added []*claim) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.assigned && len(added) == 0 {
		return
	}
	e.assigned, e.refused = true, false
	e.next = &driver.Event{Assigned: true}
	e.added = append(e.added, added...)
	e.signal()
}

// reportLost reports that the assignment is lost. If there was none, it only reports a
// rejection of the credentials, once.
func (e *sessionEvents) reportLost(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rejected := isRefused(cause)
	if !e.assigned && (!rejected || e.refused) {
		return
	}
	e.assigned, e.refused = false, rejected
	e.next = &driver.Event{Cause: cause}
	e.signal()
}

// fail ends the session with err unless it has ended before.
func (e *sessionEvents) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.final == nil {
		e.final = err
		e.signal()
	}
	e.stop()
}

// endClaim ends a claim. It also releases a claim that Next has not returned, because
// nothing else can release it.
func (e *sessionEvents) endClaim(c *claim, cause error) {
	e.mu.Lock()
	if i := slices.Index(e.added, c); i >= 0 {
		e.added = slices.Delete(e.added, i, i+1)
		c.Release()
	}
	e.mu.Unlock()
	c.end(cause)
}

// beginClose marks the session as closing and ends its work.
func (e *sessionEvents) beginClose() {
	e.mu.Lock()
	e.closing = true
	for _, c := range e.added {
		c.Release()
	}
	e.signal()
	e.mu.Unlock()
	e.stop()
}

// signal wakes Next. e.mu is held.
func (e *sessionEvents) signal() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// endCause returns the cause for the contexts of claims that end with the session.
func (e *sessionEvents) endCause() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.final != nil {
		return e.final
	}
	return e.closedError()
}

func (e *sessionEvents) closedError() error {
	return &driver.Error{
		Code: driver.CodeClosed, Op: "subscribe", Transport: transportName, Topic: e.sub.Topic, Reason: "the session is closed",
	}
}

// waitDone waits until run has returned. If ctx ends first, it calls abort and returns an
// error.
func (e *sessionEvents) waitDone(ctx context.Context, abort func()) error {
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		abort()
		return failCode(driver.ContextCode(ctx.Err()), "close", e.sub.Topic, "the session did not end in time", ctx.Err())
	}
}

// revokedError returns the cause for the context of a claim that a rebalance or the loss of
// the session has ended.
func revokedError(topic string, err error) error {
	if errors.Is(err, context.Canceled) {
		err = nil // sarama's cause for a rebalance
	}
	return &driver.Error{
		Code: driver.CodeRevoked, Op: "consume", Transport: transportName, Topic: topic, Reason: "the partition was revoked", Err: err,
	}
}

// missingTopicCounter decides whether a topic that is missing from the metadata does not
// exist. One error is not enough, because a new topic appears in the metadata of one broker
// after the other.
type missingTopicCounter int

// isMissing counts consecutive errors with the code NotFound. It returns true from the
// fourth on.
func (n *missingTopicCounter) isMissing(err error) bool {
	if codeOf(err) != driver.CodeNotFound {
		*n = 0
		return false
	}
	*n++
	return *n > 3
}
