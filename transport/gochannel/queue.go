package gochannel

import "github.com/trunkline/trunkline/bus/driver"

// entry is one message. It is in the queue of every session that received it. Its record
// has no offset, because each session has its own offsets.
type entry struct {
	record driver.Record
	// shared means that several sessions have the entry, so each copies the headers.
	shared bool
}

// queue is a ring buffer that grows up to limit elements.
type queue struct {
	limit int
	ring  []*entry
	head  int
	n     int
}

func (q *queue) full() bool { return q.n == q.limit }

func (q *queue) push(e *entry) {
	if q.n == len(q.ring) {
		grown := make([]*entry, min(max(16, 2*len(q.ring)), q.limit))
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
