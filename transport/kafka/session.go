package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
)

// session is what a transport knows of its sessions.
type session interface {
	driver.Session
	run()   // until the session has ended
	reset() // ends what waits for an answer
}

// events is the part that both kinds of session share: the one event that has not been
// taken yet, what it is about, and how the session ends.
type events struct {
	sub  driver.Subscription
	ctx  context.Context // of the session's own work
	stop context.CancelFunc
	done chan struct{} // closed when run has returned

	mu       sync.Mutex
	assigned bool
	refused  bool          // that the broker doesn't let us in was told
	due      *driver.Event // merged of all that happened since the last was taken
	added    []*claim      // those in due.Added: nobody else knows of them yet
	final    error
	changed  chan struct{} // closed and replaced when due or final is set
	closing  bool
}

func newEvents(t *Transport, s driver.Subscription) *events {
	e := &events{sub: s, done: make(chan struct{}), changed: make(chan struct{})}
	e.ctx, e.stop = context.WithCancel(t.ctx)
	return e
}

// Next implements driver.Session.
func (e *events) Next(ctx context.Context) (driver.Event, error) {
	for {
		e.mu.Lock()
		switch {
		case e.closing:
			e.mu.Unlock()
			return driver.Event{}, &driver.Error{
				Code: driver.CodeClosed, Op: "subscribe", Transport: transportName, Topic: e.sub.Topic, Reason: "the session is closed",
			}
		case e.final != nil:
			defer e.mu.Unlock()
			return driver.Event{}, e.final
		case e.due != nil:
			defer e.mu.Unlock()
			ev := *e.due
			for _, c := range e.added {
				ev.Added = append(ev.Added, c)
			}
			e.due, e.added = nil, nil
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

// assign tells that the session holds an assignment, with these new claims.
func (e *events) assign(added []*claim) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.assigned && len(added) == 0 {
		return
	}
	e.assigned, e.refused = true, false
	e.due = &driver.Event{Assigned: true}
	e.added = append(e.added, added...)
	e.signal()
}

// lose tells that the assignment is lost, or that there is none because the broker
// doesn't let us in.
func (e *events) lose(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	shutOut := refused(cause)
	if !e.assigned && (!shutOut || e.refused) {
		return
	}
	e.assigned, e.refused = false, shutOut
	e.due = &driver.Event{Cause: cause}
	e.signal()
}

// fail ends the session with err, if it has not ended yet.
func (e *events) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.final == nil {
		e.final = err
		e.signal()
	}
	e.stop()
}

// endClaim ends a claim. One that was never handed out has no one else to release it.
func (e *events) endClaim(c *claim, cause error) {
	e.mu.Lock()
	if i := slices.Index(e.added, c); i >= 0 {
		e.added = slices.Delete(e.added, i, i+1)
		c.Release()
	}
	e.mu.Unlock()
	c.end(cause)
}

// begin marks the session as closing and ends its work.
func (e *events) begin() {
	e.mu.Lock()
	e.closing = true
	for _, c := range e.added {
		c.Release()
	}
	e.signal()
	e.mu.Unlock()
	e.stop()
}

func (e *events) signal() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// endCause is what the context of a claim ends with when its session does.
func (e *events) endCause() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.final != nil {
		return e.final
	}
	return &driver.Error{
		Code: driver.CodeClosed, Op: "subscribe", Transport: transportName, Topic: e.sub.Topic, Reason: "the session is closed",
	}
}

// waitDone waits for run under ctx, then cuts it off.
func (e *events) waitDone(ctx context.Context, cut func()) error {
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		cut()
		return failCode(driver.ContextCode(ctx.Err()), "close", e.sub.Topic, "the session could not leave in time", ctx.Err())
	}
}

// revoked is the cause of a claim's end by a rebalance or a lost session.
func revoked(topic string, err error) error {
	if errors.Is(err, context.Canceled) {
		err = nil // sarama's word for: the group is rebalancing
	}
	return &driver.Error{
		Code: driver.CodeRevoked, Op: "consume", Transport: transportName, Topic: topic, Reason: "the partition was taken away", Err: err,
	}
}

// patience decides when a topic that brokers do not know is one that does not exist.
type patience int

// missing says that now it is one.
func (p *patience) missing(err error) bool {
	if codeOf(err) != driver.CodeNotFound {
		*p = 0
		return false
	}
	*p++
	return *p > 3
}
