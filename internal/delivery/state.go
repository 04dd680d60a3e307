package delivery

import (
	"errors"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// state decides what happens to the records of one claim. It is a state machine: it gets
// events and returns actions. The claim and its workers execute the actions, and report the result
// as the next event. state has no goroutines, no locks, no clock and no I/O, so the scripts in
// testdata can test all of its decisions. The claim's mutex guards it.
//
//	         admit            begin            returned nil
//	record ────────▶ queued ──────────▶ handling ────────────▶ done
//	                                ▲    │  │  │
//	                     pauseEnded │    │  │  │ returned an error
//	                                │    │  │  ▼
//	                                └──────────pausing ◀──────┐
//	                                     │  │     │           │ deadLettered, failed
//	                returned DeadLetter  │  │     │           │
//	                                     ▼  │     ▼ pauseEnded│
//	                            deadLettering ────────────────┴──▶ done (deadLettered)
//	                                        │
//	                  returned ErrLater     ▼     settled
//	                                     deferred ────────▶ resuming ──▶ as returned
//
// An item can become released: it then stays unacknowledged, and the claim does nothing more with
// it. No later record of its key begins, because that would break the order.
type state struct {
	rules
	window window
	// keys has the last record of each key queue. The records of a key queue are linked by
	// nextOfKey. A worker has the first one, or it is in ready.
	keys       map[string]*Item
	ready      fifo // items that a worker can begin or continue with
	unfinished int  // items of AtMostOnce that are not done
}

// rules are the settings that the state uses.
type rules struct {
	order           Order
	unacked, ahead  int // the bounds of the window
	atMostOnce      bool
	deadLetters     bool // the subscription has a dead-letter topic
	settleLater     bool // a handler may return ErrLater
	commitEach      bool // a worker commits each acknowledgement before it continues
	lowest, highest time.Duration
	jitter          func(bound time.Duration) time.Duration
}

func newState(r rules, reuse bool) state {
	return state{rules: r, window: newWindow(reuse), keys: map[string]*Item{}}
}

// phase is the phase of an item's handling.
type phase uint8

const (
	queued        phase = iota // it is in ready, or behind another record in its key queue
	resuming                   // it was settled, and a worker will continue with the result
	handling                   // a worker has it: the handler runs, or will run next
	deadLettering              // a worker publishes its dead letter
	pausing                    // a worker waits for the next attempt
	deferred                   // its handler returned ErrLater, and Settle has not been called
	done                       // it is acknowledged
	released                   // it stays unacknowledged
)

var phaseNames = [...]string{"queued", "resuming", "handling", "dead-lettering", "pausing", "deferred", "done", "released"}

func (p phase) String() string { return phaseNames[p] }

// event is what happened to an item.
type event struct {
	kind eventKind
	err  error // the result, for committed, returned, deadLettered, settled and resumed
	// mayStart is for begin and pauseEnded: a handler may be called. It is false after the partition
	// is revoked or the subscription shuts down.
	mayStart bool
}

type eventKind uint8

const (
	begin        eventKind = iota // a worker has the item
	committed                     // the commit of doCommit ended
	returned                      // the handler returned; or it was not called because of err
	deadLettered                  // publishing the dead letter ended
	pauseEnded                    // the back-off ended
	settled                       // Settle was called
	resumed                       // Settle has called the hooks, after doResume
)

// action is what a worker does next with an item.
type action struct {
	do    do
	pause time.Duration // doPause
	cause error         // doDeadLetter: why; doStop: the reason; doResume: the outcome
	// moved is for doDone: the offset to commit has changed.
	moved bool
	// next is for doDone: the next record of the key. The worker continues with it.
	next *Item
}

type do uint8

const (
	doNothing    do = iota // return: another event of the item will follow
	doDeliver              // call the handler
	doResume               // call the hooks with the result of Settle, then report resumed or returned
	doCommit               // commit up to and including the item, then report committed
	doDeadLetter           // publish it to the dead-letter topic, then report deadLettered
	doPause                // wait, then report pauseEnded
	doStop                 // end the subscription
	doRelease              // return: the item stays unacknowledged
	doDone                 // return: the item is acknowledged
)

var doNames = [...]string{"nothing", "deliver", "resume", "commit", "dead-letter", "pause", "stop", "release", "done"}

func (d do) String() string { return doNames[d] }

// full reports whether the claim must wait before it admits another record.
func (s *state) full() bool {
	return s.window.full(s.unacked, s.ahead) || s.unfinished >= s.unacked
}

// admit appends a record that follows all others in the log. The caller must check full before.
// admit puts the item into ready, unless it is behind another record in its key queue.
func (s *state) admit(r *driver.Record) *Item {
	it := s.window.admit(r)
	it.phase, it.attempt = queued, 1
	if s.atMostOnce && r.DecodeErr == nil {
		it.atMostOnce = true
		s.unfinished++
		s.window.ack(it) // the commit before the handler must cover it
	}
	if !s.enqueueKey(it) {
		s.ready.push(it)
	}
	return it
}

// enqueueKey appends the item to its key queue. It returns true if another record is before it. The
// worker that handles that record continues with this one.
func (s *state) enqueueKey(it *Item) bool {
	if s.order != OrderByKey || len(it.record.Key) == 0 {
		return false
	}
	last := s.keys[string(it.record.Key)]
	if last != nil {
		last.nextOfKey = it
	}
	s.keys[string(it.record.Key)] = it
	return last != nil
}

// dequeueKey removes the item from its key queue, and returns the next one.
func (s *state) dequeueKey(it *Item) *Item {
	if s.order != OrderByKey || len(it.record.Key) == 0 {
		return nil
	}
	next := it.nextOfKey
	if next == nil {
		delete(s.keys, string(it.record.Key))
	}
	it.nextOfKey = nil
	return next
}

// step applies an event of an item, and returns what to do next. After doDone the item may be
// reused for another record.
func (s *state) step(it *Item, e event) action {
	switch e.kind {
	case begin:
		if it.phase == resuming {
			return s.returned(it, it.outcome)
		}
		return s.begin(it, e.mayStart)
	case committed:
		if e.err != nil {
			return s.finish(it) // it must not be handled: the commit may have succeeded or not
		}
		it.phase = handling
		return action{do: doDeliver}
	case returned:
		return s.returned(it, e.err)
	case deadLettered:
		if e.err == nil || it.atMostOnce {
			return s.finish(it)
		}
		return s.backOff(it)
	case pauseEnded:
		if !e.mayStart {
			return s.release(it)
		}
		if it.deadLetterCause != nil { // the handler asked for a dead letter: repeat only its publishing
			it.phase = deadLettering
			return action{do: doDeadLetter, cause: it.deadLetterCause}
		}
		it.attempt++
		it.phase, it.settled, it.outcome = handling, false, nil
		return action{do: doDeliver}
	case settled:
		it.settled, it.outcome = true, e.err
		if it.phase != deferred {
			return action{do: doNothing} // the handler still runs: the event returned will follow
		}
		it.phase = resuming
		return action{do: doResume, cause: e.err}
	case resumed:
		if e.err == nil && !s.commitEach {
			return s.finish(it)
		}
		s.ready.push(it) // the next step may block, and Settle must not: a worker does it
		return action{do: doNothing}
	default:
		panic(fmt.Sprintf("delivery: unknown event %d", e.kind))
	}
}

func (s *state) begin(it *Item, mayStart bool) action {
	switch {
	case it.atMostOnce: // it is acknowledged: it must be handled even if mayStart is false
		it.phase = handling
		return action{do: doCommit}
	case !mayStart:
		return s.release(it)
	}
	it.phase = handling
	return action{do: doDeliver}
}

// returned decides what follows from the handler's result.
func (s *state) returned(it *Item, err error) action {
	answer, cause := AnswerOf(err)
	c, _ := controlOf(err)
	switch {
	case c != nil && c.Answer == Later && it.settled && it.phase == handling:
		it.phase = resuming
		return action{do: doResume, cause: it.outcome}
	case c != nil && c.Answer == Later && s.settleLater && it.phase == handling:
		it.phase = deferred
		return action{do: doNothing}
	case answer == Ack, answer == Drop:
		return s.finish(it)
	case answer == Stop:
		it.phase = released
		if it.atMostOnce {
			s.unfinished--
		}
		return action{do: doStop, cause: err}
	case answer == DeadLetter && s.deadLetters:
		it.phase, it.deadLetterCause = deadLettering, cause
		if cause == nil {
			it.deadLetterCause = errNoCause
		}
		return action{do: doDeadLetter, cause: it.deadLetterCause}
	case it.atMostOnce:
		return s.finish(it) // there is no second attempt
	case answer == Retry:
		it.phase = pausing
		return action{do: doPause, pause: c.After}
	default:
		return s.backOff(it)
	}
}

// backOff returns a pause before the next attempt. The bound of the pause doubles with each
// attempt, up to highest.
func (s *state) backOff(it *Item) action {
	if it.pause == 0 {
		it.pause = s.lowest
	} else {
		it.pause = min(2*it.pause, s.highest)
	}
	it.phase = pausing
	return action{do: doPause, pause: s.jitter(it.pause)}
}

// finish ends the handling of the item, and acknowledges it unless admit already did.
func (s *state) finish(it *Item) action {
	it.phase, it.settled, it.outcome = done, false, nil
	next := s.dequeueKey(it)
	if it.atMostOnce {
		s.unfinished--
		return action{do: doDone, next: next}
	}
	return action{do: doDone, moved: s.window.ack(it), next: next}
}

// errNoCause is the cause of a dead letter whose handler gave none.
var errNoCause = errors.New("no cause was given")

func (s *state) release(it *Item) action {
	it.phase = released
	return action{do: doRelease}
}
