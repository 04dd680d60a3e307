package consumer

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// State is the state of a consumer.
//
//	Initialising ─► Starting ⇄ Consuming        ⇄ is a rebalance, or a lost connection
//	      │            │           │
//	      ▼            ▼           ▼
//	   Stopped ◄──────── Stopping               Stopped ─► Starting after another Start
//	      all of them ─► Closing ─► Closed
type State uint8

// The states.
const (
	// Initialising is the state after New.
	Initialising State = iota
	// Stopped: the consumer has left its group, and no handler runs. If it stopped because of
	// an error, Err returns the error.
	Stopped
	// Starting: the consumer has been started and has no assignment, because it was started a
	// moment ago, the broker is unavailable, or the group rebalances. The consumer leaves this
	// state by itself.
	Starting
	// Consuming: the consumer has its assignment, and every message published from now on is
	// delivered. In a group with more members than partitions the assignment can be empty.
	Consuming
	// Stopping: the consumer takes no new messages and waits for running handlers.
	Stopping
	// Closing is like Stopping. The next state is Closed.
	Closing
	// Closed is the last state.
	Closed
)

var stateNames = [...]string{"initialising", "stopped", "starting", "consuming", "stopping", "closing", "closed"}

// String returns the name of the state in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "invalid"
}

// States returns all states, in the order of their values.
func States() []State {
	return []State{Initialising, Stopped, Starting, Consuming, Stopping, Closing, Closed}
}

// Change is the entry into a state.
type Change struct {
	State State
	// Since is when the consumer entered the state.
	Since time.Time
	// Cause is why there is no assignment (Starting), the error that stops the consumer
	// (Stopping, Stopped), or an error for handlers that were cut off (Stopped, Closed). In all
	// other cases it is nil.
	Cause error
	// Number counts the changes of this consumer. The first is 1.
	Number uint64
}

// maxChanges is the number of changes that the history keeps for slow observers.
const maxChanges = 64

// history has the current state and earlier changes. Consumer.mu guards it.
type history struct {
	changes []Change // at most maxChanges, in order; the last one is current
	entered [Closed + 1]uint64
	changed chan struct{} // closed and replaced at each change
}

func newHistory() history {
	h := history{changed: make(chan struct{})}
	h.enter(Initialising, nil)
	return h
}

func (h *history) current() Change { return h.changes[len(h.changes)-1] }

// enter adds a change, unless it equals the current state.
func (h *history) enter(s State, cause error) {
	number := uint64(1)
	if len(h.changes) > 0 {
		last := h.current()
		if last.State == s && sameCause(last.Cause, cause) {
			return
		}
		number = last.Number + 1
	}
	if len(h.changes) == maxChanges {
		h.changes = slices.Delete(h.changes, 0, 1)
	}
	h.changes = append(h.changes, Change{State: s, Since: time.Now(), Cause: cause, Number: number})
	h.entered[s]++
	close(h.changed)
	h.changed = make(chan struct{})
}

// after returns the changes with a number greater than number.
func (h *history) after(number uint64) []Change {
	i := slices.IndexFunc(h.changes, func(c Change) bool { return c.Number > number })
	if i < 0 {
		return nil
	}
	return slices.Clone(h.changes[i:])
}

// sameCause compares codes, so that the same cause with another text is not a change.
func sameCause(a, b error) bool {
	return (a == nil) == (b == nil) && bus.CodeOf(a) == bus.CodeOf(b)
}

// State returns the current state.
func (c *Consumer) State() State { return c.Current().State }

// Current returns the current state, the time of its entry and its cause.
func (c *Consumer) Current() Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history.current()
}

// Wait waits until the consumer is in one of the states, and returns that state. It returns
// at once if the consumer is in one of them now, and does not miss a state that the consumer
// leaves quickly.
//
// If ctx ends first, Wait returns an error that includes the cause of the current state. If
// the consumer is closed and Closed is not one of the states, the error has bus.CodeClosed.
func (c *Consumer) Wait(ctx context.Context, states ...State) (State, error) {
	if now := c.Current(); slices.Contains(states, now.State) {
		return now.State, nil
	}
	for change := range c.Watch(ctx) {
		if slices.Contains(states, change.State) {
			return change.State, nil
		}
	}
	now := c.Current()
	if now.State == Closed && ctx.Err() == nil {
		return Closed, c.newError(bus.CodeClosed, "wait for a state", "the consumer is closed", now.Cause)
	}
	return now.State, c.contextError(ctx, "wait for a state", "the consumer is "+now.State.String(), now.Cause)
}

// Watch returns an iterator over the current state and every change after it. The iterator
// ends when ctx ends, when the loop ends, or after Closed. A slow loop does not delay the
// consumer. A loop that is more than 64 changes behind misses the oldest of them. A gap in
// [Change.Number] shows that.
func (c *Consumer) Watch(ctx context.Context) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		c.mu.Lock()
		last := c.history.current().Number - 1
		c.mu.Unlock()
		for {
			c.mu.Lock()
			changes, changed := c.history.after(last), c.history.changed
			c.mu.Unlock()
			for _, change := range changes {
				if ctx.Err() != nil || !yield(change) || change.State == Closed {
					return
				}
				last = change.Number
			}
			if len(changes) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
