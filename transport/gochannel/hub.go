package gochannel

import (
	"container/list"
	"sync"
)

// hub is the set of topics that transports of one name share. Lock order: hub.mu
// before topic.mu.
type hub struct {
	mu     sync.RWMutex
	topics map[string]*topic
}

func newHub() *hub { return &hub{topics: make(map[string]*topic)} }

// topic returns the topic of that name, nil when nobody is subscribed to it.
func (h *hub) topic(name string) *topic {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.topics[name]
}

// join makes s a session of its topic: what is published from now on reaches it.
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

// leave undoes join. A topic without sessions is forgotten, so that names with
// random parts don't pile up. Publishers that still wait on it find no session and
// are done: at that moment nobody was subscribed.
func (h *hub) leave(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tp := s.topic
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for i, other := range tp.sessions {
		if other == s {
			last := len(tp.sessions) - 1
			copy(tp.sessions[i:], tp.sessions[i+1:])
			tp.sessions[last] = nil
			tp.sessions = tp.sessions[:last]
			break
		}
	}
	s.queue.clear()
	if len(tp.sessions) == 0 {
		delete(h.topics, s.name)
	}
	tp.wakeLocked()
}

// topic fans messages out to its sessions. mu guards the sessions, their queues and
// the line of waiting publishers, which makes a message reach all sessions or none.
// Nothing waits while holding it.
type topic struct {
	mu       sync.Mutex
	sessions []*session
	// waiting holds the publishers that found no room, as chan struct{} of one
	// slot, first come first served.
	waiting list.List
}

// offer gives e to every session if all have room and nobody waits before turn,
// which is nil for a publisher that is not in line yet. If not, it returns the
// caller's place in line.
func (tp *topic) offer(e *entry, turn *list.Element) (*list.Element, bool) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if tp.waiting.Front() == turn && tp.roomLocked() {
		e.shared = len(tp.sessions) > 1
		for _, s := range tp.sessions {
			s.queue.push(e)
			s.signal()
		}
		if turn != nil {
			tp.waiting.Remove(turn)
			tp.wakeLocked()
		}
		return nil, true
	}
	if turn == nil {
		turn = tp.waiting.PushBack(make(chan struct{}, 1))
	}
	return turn, false
}

// giveUp leaves the line.
func (tp *topic) giveUp(turn *list.Element) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.waiting.Remove(turn)
	tp.wakeLocked()
}

func (tp *topic) roomLocked() bool {
	for _, s := range tp.sessions {
		if s.queue.full() {
			return false
		}
	}
	return true
}

// wakeLocked lets the first in line look again. It is called whenever there may be
// room, or the line has a new first.
func (tp *topic) wakeLocked() {
	if front := tp.waiting.Front(); front != nil {
		select {
		case front.Value.(chan struct{}) <- struct{}{}:
		default:
		}
	}
}
