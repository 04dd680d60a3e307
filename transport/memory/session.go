package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/trunkline/trunkline/bus/driver"
)

// session is one subscription's membership. Guarded by Log.mu, but for what never
// changes after Subscribe: log, transport, sub, wake.
type session struct {
	log       *Log
	transport *Transport
	sub       driver.Subscription
	wake      chan struct{} // has room for one: there is news for Next

	topic *topic
	// group is nil for a reader without one. It is set once, before the first claim
	// exists.
	group *group
	// joined: takes part now, the broker being there.
	joined bool
	// err is why the session is over.
	err error

	// claims are those not released, by partition.
	claims map[int32]*claim

	// News that Next has not told yet: first the loss, then the assignment.
	lost      bool
	lostCause error
	assigned  bool
	added     []*claim
}

var _ driver.Session = (*session)(nil)

func (s *session) Next(ctx context.Context) (driver.Event, error) {
	for {
		event, ok, err := s.poll()
		if ok || err != nil {
			return event, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return driver.Event{}, contextError("subscribe", s.sub.Topic, ctx.Err())
		}
	}
}

func (s *session) poll() (driver.Event, bool, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	switch {
	case s.err != nil:
		return driver.Event{}, false, s.err
	case s.lost:
		event := driver.Event{Cause: s.lostCause}
		s.lost, s.lostCause = false, nil
		return event, true, nil
	case s.assigned:
		event := driver.Event{Assigned: true}
		for _, c := range s.added {
			c.delivered = true
			event.Added = append(event.Added, c)
		}
		s.assigned, s.added = false, nil
		return event, true, nil
	default:
		return driver.Event{}, false, nil
	}
}

func (s *session) Close(context.Context) error {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.finish(failure(driver.CodeClosed, "subscribe", s.sub.Topic, "the subscription was closed", nil))
	return nil
}

// signal never blocks, so it may be called with a lock held.
func (s *session) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// add tells of a new claim.
func (s *session) add(c *claim) {
	s.claims[c.partition.id] = c
	s.added = append(s.added, c)
	s.assigned = s.assigned || s.joined
	s.signal()
}

// connect takes part, as the broker is there.
func (s *session) connect() {
	if s.err != nil || s.joined {
		return
	}
	if s.topic == nil {
		if s.topic = s.log.lookup(s.sub.Topic); s.topic == nil {
			s.finish(noTopic("subscribe", s.sub.Topic))
			return
		}
		s.topic.sessions = append(s.topic.sessions, s)
		s.topic.listeners.Add(1)
		if s.sub.Group != "" {
			s.group = s.topic.group(s.sub.Group)
		}
	}
	s.joined, s.assigned = true, true
	if s.group != nil {
		s.group.join(s)
	} else if err := s.read(s.topic.all(), s.sub.Start); err != nil {
		s.finish(err)
	}
	s.signal()
}

// read goes on with the claims it had, and claims what it should have of all.
func (s *session) read(all []*partition, start driver.Start) error {
	for _, id := range s.sub.Partitions {
		if id < 0 || int(id) >= len(all) {
			return failure(driver.CodeNotFound, "subscribe", s.topic.name,
				fmt.Sprintf("there is no partition %d, the topic has %d", id, len(all)), nil)
		}
	}
	for _, p := range all {
		if s.sub.Partitions != nil && !slices.Contains(s.sub.Partitions, p.id) {
			continue
		}
		if err := s.readOne(p, start); err != nil {
			return err
		}
	}
	return nil
}

// extend claims partitions that are new in the topic, from their first record on.
func (s *session) extend(added []*partition) {
	for _, p := range added {
		m := &mark{connected: s.joined}
		p.marks = append(p.marks, m)
		c := newClaim(s, p, m, 0)
		c.paused = !s.joined
		s.add(c)
	}
}

func (s *session) readOne(p *partition, start driver.Start) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := s.claims[p.id]; c != nil {
		p.hold(c.mark, c.next)
		c.paused = false
		c.signal()
		return nil
	}
	next, err := p.resolve(start)
	if err != nil {
		return err
	}
	m := &mark{}
	p.marks = append(p.marks, m)
	p.hold(m, next)
	s.add(newClaim(s, p, m, next))
	return nil
}

// disconnect loses the broker: a member is out of its group at once, a reader
// without one keeps its claims and waits.
func (s *session) disconnect(cause error) {
	if !s.leave(cause) {
		return
	}
	s.lost, s.lostCause, s.assigned = true, cause, false
	s.signal()
}

// leave stops taking part, and says whether it did before.
func (s *session) leave(cause error) bool {
	if !s.joined {
		return false
	}
	s.joined = false
	if s.group == nil {
		for _, c := range s.claims {
			s.pause(c)
		}
		return true
	}
	s.group.remove(s)
	for _, c := range s.claims {
		c.end(cause, false)
		if !c.revoked {
			c.revoked = true
			s.letGo(c)
		}
	}
	s.group.rebalance()
	return true
}

func (s *session) pause(c *claim) {
	p := c.partition
	p.mu.Lock()
	c.paused = true
	c.mark.connected = false
	room := p.nextInQueue()
	p.mu.Unlock()
	room.wake()
}

// release forgets a claim of which no handler runs any more.
func (s *session) release(c *claim) {
	if c.released {
		return
	}
	c.released = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.end(failure(driver.CodeRevoked, "consume", s.sub.Topic, fmt.Sprintf("partition %d was released", c.partition.id), nil), false)
	id := c.partition.id
	if s.claims[id] == c {
		delete(s.claims, id)
	}
	s.added = slices.DeleteFunc(s.added, func(a *claim) bool { return a == c })
	if s.group == nil {
		s.forget(c)
		return
	}
	if c.revoked && s.group.owner[id] == c {
		s.group.owner[id] = nil
	}
	if err := s.group.handOut(int(id)); err != nil {
		s.group.target[id].finish(err)
	}
}

// forget removes the position of a reader without group.
func (s *session) forget(c *claim) {
	p := c.partition
	p.mu.Lock()
	p.marks = slices.DeleteFunc(p.marks, func(m *mark) bool { return m == c.mark })
	room := p.nextInQueue()
	p.mu.Unlock()
	room.wake()
}

// finish ends the session for good.
func (s *session) finish(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	s.leave(err)
	for _, c := range s.claims {
		c.end(err, false)
		c.revoked = true
		s.release(c)
	}
	if s.topic != nil {
		s.topic.sessions = slices.DeleteFunc(s.topic.sessions, func(o *session) bool { return o == s })
		s.topic.listeners.Add(-1)
	}
	s.transport.sessions = slices.DeleteFunc(s.transport.sessions, func(o *session) bool { return o == s })
	s.signal()
}
