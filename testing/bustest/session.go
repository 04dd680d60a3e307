package bustest

import (
	"context"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// leaveTimeout bounds how long a session leaves its group in the background.
const leaveTimeout = 10 * time.Second

// Rebalance makes every member of the group that uses this transport leave the group and join it
// again. The claims of the members end with Revoked; they can still commit until they are released.
// Rebalance does not wait for that. It returns a NotFound error if the group has no member that uses
// this transport, and an Unsupported error if the transport has no groups.
func (f *Faults) Rebalance(group, topic string) error {
	if !f.Capabilities().Groups {
		return f.failure(driver.CodeUnsupported, "rebalance", topic, "the transport has no groups", nil)
	}
	if group == "" || f.rebalance(group, topic) == 0 {
		return f.failure(driver.CodeNotFound, "rebalance", topic, "the group has no member on this transport", nil)
	}
	return nil
}

// rebalance rebalances one group, or all groups if group is "". It returns the number of members.
func (f *Faults) rebalance(group, topic string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.sessions {
		if s.sub.Topic != topic || s.sub.Group == "" || group != "" && s.sub.Group != group {
			continue
		}
		n++
		if s.inner != nil && f.cutCause == nil {
			cause := f.failure(driver.CodeRevoked, "consume", topic, "a fault rebalanced the group", nil)
			s.leave(cause, true)
			s.enqueue(driver.Event{Cause: cause})
		}
	}
	return n
}

// session is one subscription. Faults.mu guards all fields that change.
type session struct {
	f   *Faults
	sub driver.Subscription

	// inner is the session of the wrapped transport. It is nil while disconnected, and while the
	// session leaves its group. Next subscribes again.
	inner driver.Session
	// left is closed when the session has left its group; nil when it is not leaving.
	left chan struct{}
	// claims are the claims of inner that are not released.
	claims []*claim
	// assigned is the last assignment that inner reported.
	assigned bool
	// postponed are claims that inner reported while disconnected. Next returns them later.
	postponed []driver.Partition
	events    []driver.Event // for Next
	closed    bool

	// wakeup ends, and is replaced, when Next and Fetch must check the session's state again.
	wakeup context.Context
	wake   context.CancelFunc
}

func newSession(f *Faults, sub driver.Subscription) *session {
	s := &session{f: f, sub: sub}
	s.wakeup, s.wake = context.WithCancel(f.closing)
	return s
}

// wakeAll wakes Next and every Fetch. The caller holds mu.
func (s *session) wakeAll() {
	s.wake()
	s.wakeup, s.wake = context.WithCancel(s.f.closing)
}

// enqueue adds an event for Next. The caller holds mu.
func (s *session) enqueue(e driver.Event) {
	s.events = append(s.events, e)
	s.wakeAll()
}

// disconnect handles the loss of the connection. The caller holds mu.
func (s *session) disconnect(cause error) {
	if s.sub.Group != "" && s.inner != nil {
		s.leave(cause, false)
	}
	s.enqueue(driver.Event{Cause: cause})
}

// connect handles the restored connection. The caller holds mu.
func (s *session) connect() {
	if s.inner == nil || !s.assigned {
		s.wakeAll() // Next gets the assignment
		return
	}
	s.enqueue(driver.Event{Assigned: true, Added: s.postponed})
	s.postponed = nil
}

// leave ends the claims. Once they are released, it takes inner out of its group in the background.
// The claims can commit until then only if mayCommit is set. The caller holds mu.
func (s *session) leave(cause error, mayCommit bool) {
	if s.f.closing.Err() != nil {
		return // the wrapped transport closes inner
	}
	inner, claims, postponed, left := s.inner, s.claims, s.postponed, make(chan struct{})
	s.inner, s.claims, s.postponed, s.assigned, s.left = nil, nil, nil, false, left
	for _, c := range claims {
		c.commitsEnded = !mayCommit
		c.cancel(cause)
	}
	s.f.leaving.Go(func() {
		defer func() {
			s.f.mu.Lock()
			s.left = nil
			s.wakeAll()
			s.f.mu.Unlock()
			close(left)
		}()
		for _, p := range postponed { // the bus does not have them, so it cannot release them
			p.Release()
		}
		for _, c := range claims {
			select {
			case <-c.released:
			case <-s.f.closing.Done():
			}
		}
		ctx, cancel := context.WithTimeout(s.f.closing, leaveTimeout)
		defer cancel()
		_ = inner.Close(ctx) // after an error, the session time-out of the group removes the member
	})
}

// Next implements [driver.Session]. It returns the events of the faults and of the wrapped
// transport.
func (s *session) Next(ctx context.Context) (driver.Event, error) {
	for {
		s.f.mu.Lock()
		if s.closed {
			s.f.mu.Unlock()
			return driver.Event{}, s.f.failure(driver.CodeClosed, "subscribe", s.sub.Topic, "the subscription was closed", nil)
		}
		if len(s.events) > 0 {
			e := s.events[0]
			s.events = s.events[1:]
			s.f.mu.Unlock()
			return e, nil
		}
		inner, wakeup := s.inner, s.wakeup
		closing := s.f.closing.Err() != nil
		mustWait := !closing && (s.f.cutCause != nil || s.left != nil)
		s.f.mu.Unlock()
		if closing && inner == nil {
			return driver.Event{}, s.f.closed("subscribe", s.sub.Topic)
		}
		switch {
		case mustWait:
			select {
			case <-wakeup.Done():
			case <-ctx.Done():
				return driver.Event{}, s.f.failure(driver.ContextCode(ctx.Err()), "subscribe", s.sub.Topic, "", ctx.Err())
			}
		case inner == nil:
			if err := s.join(ctx); err != nil {
				return driver.Event{}, err
			}
		default:
			e, ok, err := s.nextOfInner(ctx, inner, wakeup)
			if ok || err != nil {
				return e, err
			}
		}
	}
}

// join subscribes to the wrapped transport.
func (s *session) join(ctx context.Context) error {
	inner, err := s.f.inner.Subscribe(ctx, s.sub)
	if err != nil {
		return err
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.inner = inner
	if s.f.cutCause != nil && s.sub.Group != "" { // a Disconnect during the Subscribe
		s.leave(s.f.cutCause, false)
	}
	return nil
}

// nextOfInner waits for an event of inner. ok is false if Next must check the session's state again.
func (s *session) nextOfInner(ctx context.Context, inner driver.Session, wakeup context.Context) (driver.Event, bool, error) {
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.f.closing.Err() == nil { // otherwise inner reports that it is closed
		defer context.AfterFunc(wakeup, cancel)()
	}
	e, err := inner.Next(either)
	if err != nil {
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		if ctx.Err() == nil && (s.inner != inner || either.Err() != nil) { // woken
			return driver.Event{}, false, nil
		}
		return driver.Event{}, false, err
	}
	added := make([]*claim, len(e.Added))
	for i, p := range e.Added {
		added[i] = newClaim(s, p)
		e.Added[i] = added[i]
	}
	current, deliver := s.addClaims(inner, e, added)
	if !current { // the session has left its group during the call
		for _, c := range added {
			c.Release()
		}
	}
	return e, deliver, nil
}

// addClaims adds the claims of an event to the session. current is false if inner is no longer the
// session's. deliver is false if Next must not return the event now.
func (s *session) addClaims(inner driver.Session, e driver.Event, added []*claim) (current, deliver bool) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if s.inner != inner {
		return false, false
	}
	s.claims = append(s.claims, added...)
	s.assigned = e.Assigned
	if s.f.cutCause != nil {
		s.postponed = append(s.postponed, e.Added...)
		return true, false
	}
	return true, true
}

// Close implements [driver.Session].
func (s *session) Close(ctx context.Context) error {
	s.f.mu.Lock()
	s.closed = true
	inner, left, postponed := s.inner, s.left, s.postponed
	s.postponed = nil
	s.wake()
	s.f.sessions = slices.DeleteFunc(s.f.sessions, func(o *session) bool { return o == s })
	s.f.mu.Unlock()
	for _, p := range postponed {
		p.Release()
	}
	if left != nil {
		select {
		case <-left:
		case <-ctx.Done():
			return s.f.failure(driver.ContextCode(ctx.Err()), "close", s.sub.Topic, "the session was still leaving its group", ctx.Err())
		}
	}
	if inner == nil {
		return nil
	}
	return inner.Close(ctx)
}
