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

// Item is a record that was admitted to the window, with the state of its handling and
// what its first delivery needs: one allocation for all of it.
type Item struct {
	claim    *claim
	record   driver.Record
	first    Delivery  // used for the first attempt
	delivery *Delivery // the current attempt
	asked    [1]*driver.Record

	// The following are guarded by the claim's mutex.
	phase   phase
	attempt int
	pause   time.Duration // the bound of the last back-off; 0 before the first
	acked   bool
	letter  error // the cause, once the handler asked for a dead letter
	once    bool  // acknowledged before it is handled: see AtMostOnce
	counted bool  // it holds a place of InFlight
	settled bool  // Settle was called
	outcome error // what Settle was called with

	nextInWindow *Item
	nextOfKey    *Item
	nextReady    *Item

	// Of the delivery whose handler returned ErrLater.
	begun time.Time
	end   func(error)
}

// Delivery returns the current delivery, for the handler.
func (it *Item) Delivery() *Delivery { return it.delivery }

// deliver begins the current attempt. Each attempt after the first has a delivery of its
// own: the handler of an earlier one may still hold that.
func (it *Item) deliver(ctx context.Context) {
	if it.attempt == 1 {
		it.first = Delivery{Record: &it.record, Attempt: 1, Context: ctx}
		it.delivery = &it.first
	} else {
		it.delivery = &Delivery{Record: &it.record, Attempt: it.attempt, Context: ctx}
	}
}

// fifo is a queue of items that are ready for a worker, linked through them.
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
