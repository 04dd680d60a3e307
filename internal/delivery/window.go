package delivery

import "github.com/trunkline/trunkline/bus/driver"

// window records, for one claim, which records are acknowledged, in the order of the log.
// Offsets may have gaps, so it holds only the records that were admitted. It is not safe
// for concurrent use: the claim's mutex guards it.
//
// The invariant: everything below next is acknowledged, and the record at front, if there
// is one, is not.
type window struct {
	front, back *Item // a queue, linked by nextInWindow, from the first unacknowledged record on
	held        int   // the length of the queue
	unacked     int
	next        int64 // the offset to commit; -1 while nothing is acknowledged

	reuse bool  // reuse items that left the queue
	spare *Item // items to reuse, linked by nextInWindow; at most the maximum of held
}

func newWindow(reuse bool) window { return window{next: -1, reuse: reuse} }

// admit appends a record that follows all others in the log.
func (w *window) admit(r *driver.Record) *Item {
	it := w.spare
	if it == nil {
		it = new(Item)
	} else {
		w.spare, it.nextInWindow = it.nextInWindow, nil
	}
	it.record = *r
	if w.front == nil {
		w.front = it
	} else {
		w.back.nextInWindow = it
	}
	w.back = it
	w.held++
	w.unacked++
	return it
}

// ack marks the item as acknowledged, and moves next over the acknowledged prefix. It
// returns true if next moved. With reuse, the item may be cleared afterwards.
func (w *window) ack(it *Item) bool {
	it.acked = true
	w.unacked--
	moved := false
	for w.front != nil && w.front.acked {
		first := w.front
		w.next = first.record.Offset + 1
		// Unlink the item: if a handler keeps it, it must not keep the later items in memory.
		w.front, first.nextInWindow = first.nextInWindow, nil
		w.held--
		if w.reuse {
			*first = Item{nextInWindow: w.spare}
			w.spare = first
		}
		moved = true
	}
	if w.front == nil {
		w.back = nil
	}
	return moved
}

// full reports whether another record would exceed a bound. The window holds at most unacked
// records that are not acknowledged. It holds at most ahead+1 records in total: the first is not
// acknowledged, and all others may be.
func (w *window) full(unacked, ahead int) bool {
	return w.unacked >= unacked || w.held > ahead
}
