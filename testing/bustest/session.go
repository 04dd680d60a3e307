package bustest

import (
	"context"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// leaveTimeout bounds the leaving of a group in the background.
const leaveTimeout = 10 * time.Second

// Rebalance makes every member that a group has here on the topic leave the group
// and join again. Their claims end with Revoked and may commit until they are
// released. It does not wait for that. NotFound when the group has no member here,
// Unsupported when the transport has no groups.
func (f *Faults) Rebalance(group, topic string) error {
	if !f.Capabilities().Groups {
		return f.failure(driver.CodeUnsupported, "rebalance", topic, "the transport has no groups", nil)
	}
	if group == "" || f.rebalance(group, topic) == 0 {
		return f.failure(driver.CodeNotFound, "rebalance", topic, "the group has no member on this transport", nil)
	}
	return nil
}

// rebalance is for one group, or for all with "". It returns how many members that
// was.
func (f *Faults) rebalance(group, topic string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.sessions {
		if s.sub.Topic != topic || s.sub.Group == "" || group != "" && s.sub.Group != group {
			continue
		}
		n++
		if s.inner != nil && f.away == nil {
			cause := f.failure(driver.CodeRevoked, "consume", topic, "a fault rebalanced the group", nil)
			s.leave(cause, true)
			s.tell(driver.Event{Cause: cause})
		}
	}
	return n
}

// session is one subscription. Guarded by Faults.mu, but for what never changes.
type session struct {
	f   *Faults
	sub driver.Subscription

	// inner is nil while there is none: the connection is cut, or the session is on
	// its way out of its group. Next makes the next one.
	inner driver.Session
	// leaving is closed when the session has left its group; nil when it is not at it.
	leaving chan struct{}
	// claims are those of inner that were not released.
	claims []*claim
	// assigned is what inner said last.
	assigned bool
	// added are claims that inner told of when the connection had just been cut.
	added  []driver.Partition
	news   []driver.Event
	closed bool

	// epoch ends, and is replaced, when Next or Fetch has to look again.
	epoch context.Context
	turn  context.CancelFunc
}

func newSession(f *Faults, sub driver.Subscription) *session {
	s := &session{f: f, sub: sub}
	s.epoch, s.turn = context.WithCancel(f.closing)
	return s
}

// nextEpoch is called with mu held.
func (s *session) nextEpoch() {
	s.turn()
	s.epoch, s.turn = context.WithCancel(s.f.closing)
}

// tell is called with mu held.
func (s *session) tell(e driver.Event) {
	s.news = append(s.news, e)
	s.nextEpoch()
}

// lose is the loss of the connection. It is called with mu held.
func (s *session) lose(cause error) {
	if s.sub.Group != "" && s.inner != nil {
		s.leave(cause, false)
	}
	s.tell(driver.Event{Cause: cause})
}

// regain is the connection's return. It is called with mu held.
func (s *session) regain() {
	if s.inner == nil || !s.assigned {
		s.nextEpoch() // the assignment is still to come
		return
	}
	s.tell(driver.Event{Assigned: true, Added: s.added})
	s.added = nil
}

// leave ends the claims, and takes inner out of its group once they are released.
// It is called with mu held.
func (s *session) leave(cause error, granted bool) {
	if s.f.closing.Err() != nil {
		return // the transport's Close is the end of inner
	}
	inner, claims, unseen, left := s.inner, s.claims, s.added, make(chan struct{})
	s.inner, s.claims, s.added, s.assigned, s.leaving = nil, nil, nil, false, left
	for _, c := range claims {
		c.over = !granted
		c.cancel(cause)
	}
	s.f.moves.Go(func() {
		defer func() {
			s.f.mu.Lock()
			s.leaving = nil
			s.nextEpoch()
			s.f.mu.Unlock()
			close(left)
		}()
		for _, p := range unseen { // nobody else knows of them
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
		_ = inner.Close(ctx) // a member that could not leave is out when its session times out
	})
}

// Next returns the faults' events and the transport's.
func (s *session) Next(ctx context.Context) (driver.Event, error) {
	for {
		s.f.mu.Lock()
		if s.closed {
			s.f.mu.Unlock()
			return driver.Event{}, s.f.failure(driver.CodeClosed, "subscribe", s.sub.Topic, "the subscription was closed", nil)
		}
		if len(s.news) > 0 {
			e := s.news[0]
			s.news = s.news[1:]
			s.f.mu.Unlock()
			return e, nil
		}
		inner, epoch := s.inner, s.epoch
		closing := s.f.closing.Err() != nil
		idle := !closing && (s.f.away != nil || s.leaving != nil)
		s.f.mu.Unlock()
		if closing && inner == nil {
			return driver.Event{}, s.f.closed("subscribe", s.sub.Topic)
		}
		switch {
		case idle:
			select {
			case <-epoch.Done():
			case <-ctx.Done():
				return driver.Event{}, s.f.failure(driver.ContextCode(ctx.Err()), "subscribe", s.sub.Topic, "", ctx.Err())
			}
		case inner == nil:
			if err := s.join(ctx); err != nil {
				return driver.Event{}, err
			}
		default:
			e, ok, err := s.follow(ctx, inner, epoch)
			if ok || err != nil {
				return e, err
			}
		}
	}
}

// join makes the session underneath.
func (s *session) join(ctx context.Context) error {
	inner, err := s.f.inner.Subscribe(ctx, s.sub)
	if err != nil {
		return err
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.inner = inner
	if s.f.away != nil && s.sub.Group != "" { // cut since
		s.leave(s.f.away, false)
	}
	return nil
}

// follow waits for an event of inner's; ok is false when there is something else to
// look at first.
func (s *session) follow(ctx context.Context, inner driver.Session, epoch context.Context) (driver.Event, bool, error) {
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.f.closing.Err() == nil { // afterwards it is for inner to say that it is closed
		defer context.AfterFunc(epoch, cancel)()
	}
	e, err := inner.Next(either)
	if err != nil {
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		if ctx.Err() == nil && (s.inner != inner || either.Err() != nil) { // it was made to look
			return driver.Event{}, false, nil
		}
		return driver.Event{}, false, err
	}
	added := make([]*claim, len(e.Added))
	for i, p := range e.Added {
		added[i] = newClaim(s, p)
		e.Added[i] = added[i]
	}
	ok, told := s.take(inner, e, added)
	if !ok { // it left its group meanwhile
		for _, c := range added {
			c.Release()
		}
	}
	return e, told, nil
}

// take makes the claims this session's. ok says that it is still on inner, told that the
// event is for now.
func (s *session) take(inner driver.Session, e driver.Event, added []*claim) (ok, told bool) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if s.inner != inner {
		return false, false
	}
	s.claims = append(s.claims, added...)
	s.assigned = e.Assigned
	if s.f.away != nil { // the connection has to be back first
		s.added = append(s.added, e.Added...)
		return true, false
	}
	return true, true
}

// Close leaves.
func (s *session) Close(ctx context.Context) error {
	s.f.mu.Lock()
	s.closed = true
	inner, leaving, added := s.inner, s.leaving, s.added
	s.added = nil
	s.turn()
	s.f.sessions = slices.DeleteFunc(s.f.sessions, func(o *session) bool { return o == s })
	s.f.mu.Unlock()
	for _, p := range added {
		p.Release()
	}
	if leaving != nil {
		select {
		case <-leaving:
		case <-ctx.Done():
			return s.f.failure(driver.ContextCode(ctx.Err()), "close", s.sub.Topic, "the session was still leaving its group", ctx.Err())
		}
	}
	if inner == nil {
		return nil
	}
	return inner.Close(ctx)
}
