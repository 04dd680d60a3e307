package liveness

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/liveness/probe"
)

// Version numbers the states of one monitor. It grows with each change and is never 0, so
// 0 stands for "no state seen yet".
type Version uint64

// State is the state of a monitor at one moment. It is a copy, and the caller may keep it.
type State struct {
	// Version is the number of the state. Pass it to [Monitor.Wait] to wait for the next
	// one.
	Version Version
	// Live is whether the broker answers now.
	Live bool
	// Status is the status of the service in the registry. Its methods say whether the
	// service is ready and healthy.
	Status probe.Status
	// Cause is why the service is not ready. It is nil while the service is ready, after
	// the monitor has ended, and before the first observation.
	Cause error
	// Since is when Live or Status last changed. A new cause does not change it.
	Since time.Time
	// LastSuccess is the time of the broker's last sign of life, zero before the first. A
	// new LastSuccess does not change Version.
	LastSuccess time.Time
}

// board holds the latest state for any number of observers. Reading it takes no lock, and
// an observer cannot delay the writer.
type board struct {
	current atomic.Pointer[posted]

	mu      sync.Mutex // held to replace current, and to use history and entered
	history []State    // the oldest first
	limit   int
	entered map[probe.Status]uint64 // how often the service entered each status
}

// posted is immutable. When a newer state replaces it, post closes changed.
type posted struct {
	State
	changed chan struct{}
}

func newBoard(limit int) *board {
	b := &board{limit: limit, entered: make(map[probe.Status]uint64)}
	b.current.Store(&posted{changed: make(chan struct{})})
	return b
}

// post makes v the current state, unless it equals the current state. It reports whether
// the state changed.
func (b *board) post(now time.Time, v verdict, lastSuccess time.Time) bool {
	b.mu.Lock()
	old := b.current.Load()
	next := &posted{changed: make(chan struct{}), State: State{
		Version: old.Version + 1, Live: v.live, Status: v.status, Cause: v.cause, Since: now, LastSuccess: lastSuccess,
	}}
	if old.Version > 0 && old.Live == next.Live && old.Status == next.Status {
		if errorText(old.Cause) == errorText(next.Cause) {
			b.mu.Unlock()
			return false
		}
		next.Since = old.Since
	}
	if old.Version == 0 || old.Status != next.Status {
		b.entered[next.Status]++
	}
	if len(b.history) == b.limit {
		b.history = slices.Delete(b.history, 0, 1)
	}
	b.history = append(b.history, next.State)
	b.current.Store(next)
	b.mu.Unlock()
	close(old.changed)
	return true
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// State returns the latest state. It takes no lock.
func (m *Monitor) State() State { return m.complete(m.board.current.Load()) }

func (m *Monitor) complete(p *posted) State {
	s := p.State
	s.LastSuccess = m.watcher.at(m.watcher.heard.Load())
	return s
}

// Wait returns the latest state as soon as its version differs from since; with since 0
// it returns at once. Changes in between are not queued. Call it in a loop, and pass the
// version of each state to the next call. Any number of observers may do so.
//
// When ctx ends, Wait returns the state at that moment, and an error that wraps the
// context's cause.
func (m *Monitor) Wait(ctx context.Context, since Version) (State, error) {
	for {
		if ctx.Err() != nil {
			return m.State(), fmt.Errorf("wait for a change of %s: %w", m.cfg.service, context.Cause(ctx))
		}
		p := m.board.current.Load()
		if p.Version != since {
			return m.complete(p), nil
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
		}
	}
}

// Watch yields the latest state, and then the latest state after each change, until ctx
// ends or the loop is left. Changes during the loop's body are not queued.
func (m *Monitor) Watch(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		s, err := m.Wait(ctx, 0)
		for err == nil && yield(s) {
			s, err = m.Wait(ctx, s.Version)
		}
	}
}

// History returns the last states, the oldest first; the last one is the current state.
// LastSuccess of each state is the value at that time. [WithHistory] sets how many states
// the monitor keeps.
func (m *Monitor) History() []State {
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	return slices.Clone(m.board.history)
}

// Transitions returns how often the service has entered each status since New. It counts
// changes that a slow observer missed, too. The caller may change the map.
func (m *Monitor) Transitions() map[probe.Status]uint64 {
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	return maps.Clone(m.board.entered)
}
