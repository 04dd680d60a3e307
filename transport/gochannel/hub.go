package gochannel

import (
	"container/list"
	"slices"
	"sync"
)

// hub is the set of topics of all transports with one name. Lock order: hub.mu, then
// topic.mu.
type hub struct {
	mu     sync.RWMutex
	topics map[string]*topic
}

func newHub() *hub { return &hub{topics: make(map[string]*topic)} }

// topic returns the topic with this name, nil if it has no session.
func (h *hub) topic(name string) *topic {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.topics[name]
}

// join adds s to its topic. Messages that are published afterwards reach s.
func (h *hub) join(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tp := h.topics[s.name]
	if tp == nil {
		tp = &topic{}
		h.topics[s.name] = tp
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	s.topic = tp
	tp.sessions = append(tp.sessions, s)
}

// leave removes s from its topic. A topic without sessions is removed from the hub, so
// that topics with generated names do not accumulate. Publishers that wait on such a topic
// then complete, because it has no session.
func (h *hub) leave(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tp := s.topic
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.sessions = slices.DeleteFunc(tp.sessions, func(other *session) bool { return other == s })
	s.queue.clear()
	if len(tp.sessions) == 0 {
		delete(h.topics, s.name)
	}
	tp.wakeFirstLocked()
}

// topic delivers messages to its sessions. mu guards the sessions, their queues and the
// queue of waiting publishers. Holding it makes a message reach all sessions or none.
// Nothing blocks while holding it.
type topic struct {
	mu       sync.Mutex
	sessions []*session
	// publishers holds the publishers that wait for space, in order of arrival. Each
	// element is a chan struct{} with capacity 1.
	publishers list.List
}

// offer adds e to the queue of every session, if all have space and no publisher is ahead
// of this one. waiting is the place of this publisher in the queue of publishers, nil if
// it has none. If offer adds nothing, it returns the place of the publisher and false.
func (tp *topic) offer(e *entry, waiting *list.Element) (*list.Element, bool) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if tp.publishers.Front() == waiting && tp.hasSpaceLocked() {
		e.shared = len(tp.sessions) > 1
		for _, s := range tp.sessions {
			s.queue.push(e)
			s.signal()
		}
		if waiting != nil {
			tp.publishers.Remove(waiting)
			tp.wakeFirstLocked()
		}
		return nil, true
	}
	if waiting == nil {
		waiting = tp.publishers.PushBack(make(chan struct{}, 1))
	}
	return waiting, false
}

// stopWaiting removes a publisher from the queue of publishers.
func (tp *topic) stopWaiting(waiting *list.Element) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.publishers.Remove(waiting)
	tp.wakeFirstLocked()
}

func (tp *topic) hasSpaceLocked() bool {
	for _, s := range tp.sessions {
		if s.queue.full() {
			return false
		}
	}
	return true
}

// wakeFirstLocked wakes the first waiting publisher, which then calls offer again. It must
// be called when there may be space, and when another publisher becomes the first.
func (tp *topic) wakeFirstLocked() {
	if front := tp.publishers.Front(); front != nil {
		select {
		case front.Value.(chan struct{}) <- struct{}{}:
		default:
		}
	}
}
