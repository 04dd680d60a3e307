package bus

// window keeps, for one claim, which records are acknowledged, in the order of the
// log. Offsets may have gaps, so it knows only those that were handed to it. It is
// not safe for concurrent use: its claim's mutex guards it.
//
// The invariant: everything below next is acknowledged, and the record at the front
// of entries, if there is one, is not.
type window struct {
	entries []*entry // a queue: from the first unacknowledged on
	unacked int
	next    int64 // the position to commit; -1 while nothing is acknowledged
}

// entry is a record that was handed out.
type entry struct {
	rec   Record
	acked bool
	once  bool // acknowledged before it is handled: see AtMostOnce
}

func newWindow() window { return window{next: -1} }

// admit puts a record that comes after all others under watch.
func (w *window) admit(r Record) *entry {
	e := &entry{rec: r}
	w.entries = append(w.entries, e)
	w.unacked++
	return e
}

// ack marks the entry, and moves the position over the acknowledged prefix. It
// returns true when the position moved.
func (w *window) ack(e *entry) bool {
	e.acked = true
	w.unacked--
	moved := false
	for len(w.entries) > 0 && w.entries[0].acked {
		w.next = w.entries[0].rec.Offset + 1
		w.entries[0] = nil
		w.entries = w.entries[1:]
		moved = true
	}
	return moved
}

// full says whether another record would break a bound: unacked records at most,
// and at most ahead acknowledged ones that can't be committed, which is what all but
// the front one may become.
func (w *window) full(unacked, ahead int) bool {
	return w.unacked >= unacked || len(w.entries) > ahead
}
