package bus

import "github.com/ThreeDotsLabs/watermill/message"

// window keeps, for one claim, which records are acknowledged, in the order of the
// log. Offsets may have gaps, so it knows only those that were handed to it. It is
// not safe for concurrent use: its claim's mutex guards it.
//
// The invariant: everything below next is acknowledged, and the record at front, if
// there is one, is not.
type window struct {
	front, back *entry // a queue, linked by after: from the first unacknowledged on
	held        int    // how long it is
	unacked     int
	next        int64 // the position to commit; -1 while nothing is acknowledged

	reuse bool   // entries that have left the queue are admitted again
	spare *entry // those, linked by after: never more than there were in the queue at once
}

// entry is a record that was handed out, and what its first delivery needs: one
// allocation for all of it.
type entry struct {
	rec      Record
	delivery Delivery
	message  message.Message
	once     bool       // acknowledged before it is handled: see AtMostOnce
	asked    [1]*Record // rec, for Admission

	// Under the claim's mutex.
	acked  bool
	after  *entry // the next one in the window
	behind *entry // the next one in the lane

	queued *entry // the next one of those that are ready; under the crew's mutex
	later  *later // nil until it is needed, with SettleLater
}

func newWindow(reuse bool) window { return window{next: -1, reuse: reuse} }

// admit puts a record that comes after all others under watch.
func (w *window) admit(r *Record) *entry {
	e := w.spare
	if e == nil {
		e = new(entry)
	} else {
		w.spare, e.after = e.after, nil
	}
	e.rec = *r
	if w.front == nil {
		w.front = e
	} else {
		w.back.after = e
	}
	w.back = e
	w.held++
	w.unacked++
	return e
}

// ack marks the entry, and moves the position over the acknowledged prefix. It
// returns true when the position moved. The entry may be another record's from now on.
func (w *window) ack(e *entry) bool {
	e.acked = true
	w.unacked--
	moved := false
	for w.front != nil && w.front.acked {
		first := w.front
		w.next = first.rec.Offset + 1
		// Whoever keeps a message keeps its entry, and must not keep those after it.
		w.front, first.after = first.after, nil
		w.held--
		if w.reuse {
			*first = entry{after: w.spare, later: first.later}
			w.spare = first
		}
		moved = true
	}
	return moved
}

// full says whether another record would break a bound: unacked records at most,
// and at most ahead acknowledged ones that can't be committed, which is what all but
// the front one may become.
func (w *window) full(unacked, ahead int) bool {
	return w.unacked >= unacked || w.held > ahead
}
