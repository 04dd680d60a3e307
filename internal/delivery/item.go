package delivery

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Delivery is one delivery of a record. Its fields are those of bus.Delivery, so a pointer
// to one converts to a pointer to the other.
type Delivery struct {
	*driver.Record
	Attempt int
	Context context.Context
}

// Item is a record that was admitted to the window, with the state of its handling. It also has
// the memory for its first delivery, so that a record needs only one allocation.
type Item struct {
	claim    *claim
	record   driver.Record
	first    Delivery          // for the first attempt
	delivery *Delivery         // the current attempt
	asked    [1]*driver.Record // for AdmissionRequest.Records

	// The following are guarded by the claim's mutex.
	phase           phase
	attempt         int
	pause           time.Duration // the bound of the last back-off; 0 before the first
	acked           bool
	deadLetterCause error // the cause, once the handler asked for a dead letter
	atMostOnce      bool  // acknowledged before it is handled: see AtMostOnce
	counted         bool  // it counts for InFlight
	settled         bool  // Settle was called
	outcome         error // what Settle was called with

	nextInWindow *Item
	nextOfKey    *Item
	nextReady    *Item

	// The current delivery: when it began, and the function that calls the tracers at its end.
	begun time.Time
	end   func(error)
}

// Delivery returns the current delivery, for the handler.
func (it *Item) Delivery() *Delivery { return it.delivery }

// deliver sets the delivery of the current attempt. Each attempt has a Delivery of its own, because
// the handler of an earlier attempt may still use it.
func (it *Item) deliver(ctx context.Context) {
	if it.attempt == 1 {
		it.first = Delivery{Record: &it.record, Attempt: 1, Context: ctx}
		it.delivery = &it.first
	} else {
		it.delivery = &Delivery{Record: &it.record, Attempt: it.attempt, Context: ctx}
	}
}

// fifo is a queue of items that are ready for a worker, linked by nextReady.
type fifo struct{ first, last *Item }

func (q *fifo) push(it *Item) {
	if q.last != nil {
		q.last.nextReady = it
	} else {
		q.first = it
	}
	q.last = it
}

func (q *fifo) pop() *Item {
	it := q.first
	if it == nil {
		return nil
	}
	if q.first = it.nextReady; q.first == nil {
		q.last = nil
	}
	it.nextReady = nil
	return it
}
