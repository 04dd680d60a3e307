package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/trunkline/trunkline/bus/driver"
)

// session is one subscription. Log.mu guards its fields, except for log, transport, sub
// and wake, which do not change after Subscribe.
type session struct {
	log       *Log
	transport *Transport
	sub       driver.Subscription
	wake      chan struct{} // capacity 1; receives when Next may have an event

	topic *topic
	// group is nil for a session without a group. It is set once, before the first claim
	// exists.
	group *group
	// active means that the session takes part: it is connected, and has not ended.
	active bool
	// err is why the session has ended, nil before.
	err error

	// claims are the unreleased claims, by partition.
	claims map[int32]*claim

	// Events that Next has not returned yet. A loss comes before an assignment.
	lost      bool
	lostCause error
	assigned  bool
	added     []*claim
}

var _ driver.Session = (*session)(nil)

func (s *session) Next(ctx context.Context) (driver.Event, error) {
	for {
		event, ok, err := s.nextEvent()
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

func (s *session) nextEvent() (driver.Event, bool, error) {
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
			c.announced = true
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
	s.end(newError(driver.CodeClosed, "subscribe", s.sub.Topic, "the subscription is closed", nil))
	return nil
}

// signal wakes Next. It does not block, so callers may hold a lock.
func (s *session) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// add makes Next announce a new claim.
func (s *session) add(c *claim) {
	s.claims[c.partition.id] = c
	s.added = append(s.added, c)
	s.assigned = s.assigned || s.active
	s.signal()
}

// connect makes the session active. The first call looks up the topic.
func (s *session) connect() {
	if s.err != nil || s.active {
		return
	}
	if s.topic == nil {
		if s.topic = s.log.lookup(s.sub.Topic); s.topic == nil {
			s.end(topicNotFound("subscribe", s.sub.Topic))
			return
		}
		s.topic.sessions = append(s.topic.sessions, s)
		s.topic.listeners.Add(1)
		if s.sub.Group != "" {
			s.group = s.topic.group(s.sub.Group)
		}
	}
	s.active, s.assigned = true, true
	if s.group != nil {
		s.group.join(s)
	} else if err := s.claimPartitions(s.topic.all(), s.sub.Start); err != nil {
		s.end(err)
	}
	s.signal()
}

// claimPartitions resumes the claims of a session without a group, and claims those of its
// partitions that it does not have.
func (s *session) claimPartitions(all []*partition, start driver.Start) error {
	for _, id := range s.sub.Partitions {
		if id < 0 || int(id) >= len(all) {
			return partitionNotFound("subscribe", s.topic.name, id, len(all))
		}
	}
	for _, p := range all {
		if s.sub.Partitions != nil && !slices.Contains(s.sub.Partitions, p.id) {
			continue
		}
		if err := s.claimPartition(p, start); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) claimPartition(p *partition, start driver.Start) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := s.claims[p.id]; c != nil {
		p.retain(c.progress, c.next)
		c.paused = false
		c.signal()
		return nil
	}
	next, err := p.resolve(start)
	if err != nil {
		return err
	}
	pr := &progress{}
	p.progress = append(p.progress, pr)
	p.retain(pr, next)
	s.add(newClaim(s, p, pr, next))
	return nil
}

// claimAdded claims new partitions of the topic, from their first record on. Publishers
// do not see them yet.
func (s *session) claimAdded(added []*partition) {
	for _, p := range added {
		pr := &progress{connected: s.active}
		p.progress = append(p.progress, pr)
		c := newClaim(s, p, pr, 0)
		c.paused = !s.active
		s.add(c)
	}
}

// disconnect handles a lost connection. A member of a group loses its membership at once.
// A session without a group keeps its claims, and waits.
func (s *session) disconnect(cause error) {
	if !s.deactivate(cause) {
		return
	}
	s.lost, s.lostCause, s.assigned = true, cause, false
	s.signal()
}

// deactivate ends the participation of the session. It reports whether the session was
// active.
func (s *session) deactivate(cause error) bool {
	if !s.active {
		return false
	}
	s.active = false
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
			s.scheduleRelease(c)
		}
	}
	s.group.rebalance()
	return true
}

// pause makes Fetch wait, and stops holding records back.
func (s *session) pause(c *claim) {
	p := c.partition
	p.mu.Lock()
	c.paused = true
	c.progress.connected = false
	publisher := p.nextPublisher()
	p.mu.Unlock()
	publisher.wake()
}

// release removes a claim that has no running handlers. The partition can then go to its
// next owner.
func (s *session) release(c *claim) {
	if c.released {
		return
	}
	c.released = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.end(newError(driver.CodeRevoked, "consume", s.sub.Topic, fmt.Sprintf("partition %d was released", c.partition.id), nil), false)
	id := c.partition.id
	if s.claims[id] == c {
		delete(s.claims, id)
	}
	s.added = slices.DeleteFunc(s.added, func(a *claim) bool { return a == c })
	if s.group == nil {
		s.removeProgress(c)
		return
	}
	if c.revoked && s.group.owner[id] == c {
		s.group.owner[id] = nil
	}
	if err := s.group.assign(int(id)); err != nil {
		s.group.target[id].end(err)
	}
}

// removeProgress stops tracking a claim of a session without a group.
func (s *session) removeProgress(c *claim) {
	p := c.partition
	p.mu.Lock()
	p.progress = slices.DeleteFunc(p.progress, func(pr *progress) bool { return pr == c.progress })
	publisher := p.nextPublisher()
	p.mu.Unlock()
	publisher.wake()
}

// end ends the session permanently.
func (s *session) end(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	s.deactivate(err)
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
