package delivery

import (
	"errors"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// state decides what happens to the records of one claim. It is a state machine: it gets
// events and returns actions. It has no goroutines, no locks, no clock and no I/O, so the
// scripts in testdata show and test all of its decisions. The claim's mutex guards it; the
// claim and its workers do what the actions say, and report the result as the next event.
//
//	         admit            begin          returned nil
//	record ────────▶ queued ────────▶ handling ────────────▶ done
//	                              ▲    │  │  │
//	                       paused │    │  │  │ returned an error
//	                              │    │  │  ▼
//	                              └──────────pausing ◀──┐
//	                                   │  │     │       │ lettered, failed
//	              returned DeadLetter  │  │     │       │
//	                                   ▼  │     ▼ paused│
//	                             lettering ─────────────┴──▶ done (lettered)
//	                                      │
//	                returned ErrLater     ▼     settled
//	                                   deferred ────────▶ resuming ──▶ as returned
//
// From every phase an item can become released: it stays unacknowledged, nothing continues
// with it, and nothing of its key begins any more, because it must not be overtaken.
type state struct {
	rules
	window window
	// keys has, for each key with a record that is queued or being handled, the last such
	// record. The records of a key are linked by nextOfKey; a worker has the first one.
	keys  map[string]*Item
	ready fifo // what a worker can begin, or continue, now
	once  int  // items that were acknowledged first and are not done
}

// rules are the settings that decide.
type rules struct {
	order           Order
	unacked, ahead  int // the bounds of the window
	atMostOnce      bool
	deadLetters     bool // there is a dead-letter topic
	settleLater     bool // a handler may return ErrLater
	commitEach      bool // a worker commits each acknowledgement before it continues
	lowest, highest time.Duration
	jitter          func(bound time.Duration) time.Duration
}

func newState(r rules, reuse bool) state {
	return state{rules: r, window: newWindow(reuse), keys: map[string]*Item{}}
}

// phase is where an item is in its handling.
type phase uint8

const (
	queued    phase = iota // a worker will begin it: it is in ready, or behind another record of its key
	resuming               // it was settled, and continues with that outcome
	handling               // a worker has it: the handler runs, or is about to
	lettering              // a worker publishes its dead letter
	pausing                // a worker waits for the next attempt
	deferred               // its handler returned ErrLater; Settle continues
	done                   // its handling ended with an acknowledgement
	released               // it stays unacknowledged; nothing continues with it
)

var phaseNames = [...]string{"queued", "resuming", "handling", "lettering", "pausing", "deferred", "done", "released"}

func (p phase) String() string { return phaseNames[p] }

// event is what happened to an item.
type event struct {
	kind eventKind
	err  error // committed, returned, lettered, settled, resumed: the result
	// mayStart: begin, committed and paused: a handler may be called. It is false once the
	// partition is revoked or the subscription shuts down.
	mayStart bool
}

type eventKind uint8

const (
	begin     eventKind = iota // a worker has the item
	committed                  // the commit ended that doCommit asked for
	returned                   // the handler returned; or it was not called, because of err
	lettered                   // publishing the dead letter ended
	paused                     // the back-off ended
	settled                    // Settle was called
	resumed                    // the hooks were called for an item that doResume was returned for by settled
)

// action is what a worker does next with an item.
type action struct {
	do    do
	pause time.Duration // doPause
	cause error         // doDeadLetter: why; doStop: the reason; doResume: the outcome
	// moved: doDone: the offset to commit moved.
	moved bool
	// next: doDone: the next record of the key; the worker continues with it.
	next *Item
}

type do uint8

const (
	doNothing    do = iota // another event will continue
	doDeliver              // call the handler
	doResume               // the outcome of a deferred item is there: call the hooks, then continue with it
	doCommit               // commit up to and including the item, before its handler is called
	doDeadLetter           // publish it to the dead-letter topic
	doPause                // wait, then report paused
	doStop                 // end the subscription
	doRelease              // leave it as it is
	doDone                 // its handling has ended
)

var doNames = [...]string{"nothing", "deliver", "resume", "commit", "dead-letter", "pause", "stop", "release", "done"}

func (d do) String() string { return doNames[d] }

// full reports whether the claim must wait before it admits another record.
func (s *state) full() bool {
	return s.window.full(s.unacked, s.ahead) || s.once >= s.unacked
}

// admit takes a record that follows all others in the log. The caller has checked full. The
// item is in ready afterwards, unless another record of its key comes first.
func (s *state) admit(r *driver.Record) *Item {
	it := s.window.admit(r)
	it.phase, it.attempt = queued, 1
	if s.atMostOnce && r.DecodeErr == nil {
		it.once = true
		s.once++
		s.window.ack(it) // committed before its handler is called
	}
	if !s.enqueueKey(it) {
		s.ready.push(it)
	}
	return it
}

// enqueueKey appends the item to the queue of its key. It returns true if another record is
// before it: the worker that has that one continues with this one.
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

// dequeueKey removes the item from the queue of its key, and returns the next one.
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

// step takes an event of an item, and returns what to do next. After doDone the item may be
// another record's.
func (s *state) step(it *Item, e event) action {
	switch e.kind {
	case begin:
		if it.phase == resuming {
			return s.returned(it, it.outcome)
		}
		return s.begin(it, e.mayStart)
	case committed:
		if e.err != nil {
			return s.finish(it) // it can't be handled: the commit may have failed or not
		}
		it.phase = handling
		return action{do: doDeliver}
	case returned:
		return s.returned(it, e.err)
	case lettered:
		if e.err == nil || it.once {
			return s.finish(it)
		}
		return s.backOff(it)
	case paused:
		if !e.mayStart {
			return s.release(it)
		}
		if it.letter != nil { // the handler has decided: only the dead letter is repeated
			it.phase = lettering
			return action{do: doDeadLetter, cause: it.letter}
		}
		it.attempt++
		it.phase, it.settled, it.outcome = handling, false, nil
		return action{do: doDeliver}
	case settled:
		it.settled, it.outcome = true, e.err
		if it.phase != deferred {
			return action{do: doNothing} // returned will come
		}
		it.phase = resuming
		return action{do: doResume, cause: e.err}
	case resumed:
		if e.err == nil && !s.commitEach {
			return s.finish(it)
		}
		s.ready.push(it) // what follows may wait: that is for a worker
		return action{do: doNothing}
	default:
		panic(fmt.Sprintf("delivery: unknown event %d", e.kind))
	}
}

func (s *state) begin(it *Item, mayStart bool) action {
	switch {
	case it.once: // it is acknowledged: it is handled even when nothing else begins
		it.phase = handling
		return action{do: doCommit}
	case !mayStart:
		return s.release(it)
	}
	it.phase = handling
	return action{do: doDeliver}
}

// returned decides by the handler's result.
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
		if it.once {
			s.once--
		}
		return action{do: doStop, cause: err}
	case answer == DeadLetter && s.deadLetters:
		it.phase, it.letter = lettering, cause
		if cause == nil {
			it.letter = errNoCause
		}
		return action{do: doDeadLetter, cause: it.letter}
	case it.once:
		return s.finish(it) // there is no second attempt
	case answer == Retry:
		it.phase = pausing
		return action{do: doPause, pause: c.After}
	default:
		return s.backOff(it)
	}
}

// backOff asks for the next attempt after a pause that doubles, up to the highest.
func (s *state) backOff(it *Item) action {
	if it.pause == 0 {
		it.pause = s.lowest
	} else {
		it.pause = min(2*it.pause, s.highest)
	}
	it.phase = pausing
	return action{do: doPause, pause: s.jitter(it.pause)}
}

// finish acknowledges the item, unless it was acknowledged first.
func (s *state) finish(it *Item) action {
	it.phase, it.settled, it.outcome = done, false, nil
	next := s.dequeueKey(it)
	if it.once {
		s.once--
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
