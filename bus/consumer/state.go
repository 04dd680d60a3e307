package consumer

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// State is where a consumer is in its life.
//
//	Initialising ─► Starting ⇄ Consuming        ⇄ is a rebalance, or a lost broker
//	      │            │           │
//	      ▼            ▼           ▼
//	   Stopped ◄──────── Stopping               and Stopped ─► Starting again
//	      any of them ─► Closing ─► Closed
type State uint8

// The states.
const (
	// Initialising: made, and neither started nor stopped yet.
	Initialising State = iota
	// Stopped: out of its group, no handler runs. By Stop, or by itself: then Err says why.
	Stopped
	// Starting: wants to consume, and has no assignment: the broker is away, the group
	// is being rebalanced, or it was only just started. It gets there by itself.
	Starting
	// Consuming: assigned and positioned. Its share may be no partition at all.
	Consuming
	// Stopping: takes nothing new; handlers that run are waited for.
	Stopping
	// Closing: as Stopping, for good.
	Closing
	// Closed: over. The last state.
	Closed
)

var stateNames = [...]string{"initialising", "stopped", "starting", "consuming", "stopping", "closing", "closed"}

// String returns the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "invalid"
}

// States returns all states, in the order of their numbers.
func States() []State {
	return []State{Initialising, Stopped, Starting, Consuming, Stopping, Closing, Closed}
}

// Change is the beginning of a state.
type Change struct {
	State State
	// Since is when it began.
	Since time.Time
	// Cause says why, where there is something to say: why there is no assignment
	// (Starting), why it stopped by itself or that handlers were cut off (Stopped, Closed).
	Cause error
	// Number counts the changes, from 1 on.
	Number uint64
}

// remembered is how many changes a slow observer may be behind.
const remembered = 64

// history is the present state and the changes that led to it. Its consumer's mutex
// guards it.
type history struct {
	changes []Change // the latest last, at most remembered
	entered [Closed + 1]uint64
	changed chan struct{} // closed and replaced at each change
}

func newHistory() history {
	h := history{changed: make(chan struct{})}
	h.enter(Initialising, nil)
	return h
}

func (h *history) now() Change { return h.changes[len(h.changes)-1] }

// enter begins a state, unless it says what is known.
func (h *history) enter(s State, cause error) bool {
	number := uint64(1)
	if len(h.changes) > 0 {
		last := h.now()
		if last.State == s && same(last.Cause, cause) {
			return false
		}
		number = last.Number + 1
	}
	if len(h.changes) == remembered {
		h.changes = slices.Delete(h.changes, 0, 1)
	}
	h.changes = append(h.changes, Change{State: s, Since: time.Now(), Cause: cause, Number: number})
	h.entered[s]++
	close(h.changed)
	h.changed = make(chan struct{})
	return true
}

// after returns the changes that came after the one of that number.
func (h *history) after(number uint64) []Change {
	i := slices.IndexFunc(h.changes, func(c Change) bool { return c.Number > number })
	if i < 0 {
		return nil
	}
	return slices.Clone(h.changes[i:])
}

// same compares by code: a cause that is told again in other words is no news.
func same(a, b error) bool {
	return (a == nil) == (b == nil) && bus.CodeOf(a) == bus.CodeOf(b)
}

// State returns the present state.
func (c *Consumer) State() State { return c.Current().State }

// Current returns the present state, since when, and why.
func (c *Consumer) Current() Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history.now()
}

// Wait returns the first of the states that the consumer is in, at once if it is in one
// of them now, however short it is in it. It fails when ctx ends, with why the consumer
// is not there as far as that is known, and with code Closed when the consumer is closed
// and that is none of the states.
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
		return Closed, c.fail(bus.CodeClosed, "wait for a state", "the consumer is closed", now.Cause)
	}
	return now.State, c.ended(ctx, "wait for a state", "it is "+now.State.String(), now.Cause)
}

// Watch yields the present state, and then every change, until ctx ends, the loop is
// left, or the consumer is Closed, which is the last it yields. It never holds up the
// consumer: whoever is more than 64 changes behind misses the oldest, which
// [Change.Number] shows.
func (c *Consumer) Watch(ctx context.Context) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		c.mu.Lock()
		seen := c.history.now().Number - 1
		c.mu.Unlock()
		for {
			c.mu.Lock()
			news, changed := c.history.after(seen), c.history.changed
			c.mu.Unlock()
			for _, n := range news {
				if ctx.Err() != nil || !yield(n) || n.State == Closed {
					return
				}
				seen = n.Number
			}
			if len(news) > 0 {
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
