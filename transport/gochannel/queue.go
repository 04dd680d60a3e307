package gochannel

import "github.com/trunkline/trunkline/bus/driver"

// entry is one message in the queues of all the sessions it went to. Its record has
// no offset: each session counts its own.
type entry struct {
	record driver.Record
	// shared: more than one session has it, so each needs headers of its own.
	shared bool
}

// queue is a first-in first-out ring that grows up to its bound.
type queue struct {
	bound int
	ring  []*entry
	head  int
	n     int
}

func (q *queue) full() bool { return q.n == q.bound }

func (q *queue) push(e *entry) {
	if q.n == len(q.ring) {
		grown := make([]*entry, min(max(16, 2*len(q.ring)), q.bound))
		for i := range q.n {
			grown[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = e
	q.n++
}

func (q *queue) pop() *entry {
	e := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return e
}

func (q *queue) clear() { q.ring, q.head, q.n = nil, 0, 0 }
