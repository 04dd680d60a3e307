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

// Version numbers the states of one monitor. It grows by each change and is never
// 0, so 0 is "nothing seen yet".
type Version uint64

// State is what a monitor knows at one moment: a copy, free to keep.
type State struct {
	// Version is the state's number, to be handed to [Monitor.Wait].
	Version Version
	// Live: the broker can be talked to now.
	Live bool
	// Ready: live, and every required subscription is assigned, or in its grace.
	Ready bool
	// Healthy: will recover by itself, if it has to.
	Healthy bool
	// Status is what the registry was told.
	Status probe.Status
	// Cause says why it is not ready; nil while it is, when it is closed, and while
	// nothing is known yet.
	Cause error
	// Since is when Live, Ready, Healthy or Status last changed. A new cause does not
	// move it.
	Since time.Time
	// LastSuccess is the last sign of life of the broker; zero for none yet. It moves
	// without a new version.
	LastSuccess time.Time
}

// board holds the latest state, for any number of observers. Reading it never
// locks, and nothing an observer does holds up the one who writes.
type board struct {
	current atomic.Pointer[posted]

	mu      sync.Mutex // held to replace current, and for history
	history []State    // the oldest first
	limit   int
	entered map[probe.Status]uint64 // how often
}

// posted is immutable; changed is closed when it is no longer the current one.
type posted struct {
	State
	changed chan struct{}
}

func newBoard(limit int) *board {
	b := &board{limit: limit, entered: make(map[probe.Status]uint64)}
	b.current.Store(&posted{changed: make(chan struct{})})
	return b
}

// post makes v the state, and returns whether that is news.
func (b *board) post(now time.Time, v verdict, lastSuccess time.Time) bool {
	b.mu.Lock()
	old := b.current.Load()
	next := &posted{changed: make(chan struct{}), State: State{
		Version: old.Version + 1, Live: v.live, Ready: v.ready, Healthy: v.healthy,
		Status: v.status, Cause: v.cause, Since: now, LastSuccess: lastSuccess,
	}}
	if old.Version > 0 && same(old.State, next.State) {
		if text(old.Cause) == text(next.Cause) {
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

func same(a, b State) bool {
	return a.Live == b.Live && a.Ready == b.Ready && a.Healthy == b.Healthy && a.Status == b.Status
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// State returns the latest state. It does not lock.
func (m *Monitor) State() State { return m.complete(m.board.current.Load()) }

func (m *Monitor) complete(p *posted) State {
	s := p.State
	s.LastSuccess = m.watcher.at(m.watcher.heard.Load())
	return s
}

// Wait returns the latest state as soon as its version is not since; with since 0
// that is at once. What changed in between is not queued. Use it in a loop, handing
// each state's version to the next call; any number of observers may.
//
// Once ctx has ended the error wraps its cause, and the state is the one at that
// moment.
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

// Watch yields the latest state, then the latest after each change, until ctx ends
// or the loop is left. While the loop's body runs changes are not queued.
func (m *Monitor) Watch(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		s, err := m.Wait(ctx, 0)
		for err == nil && yield(s) {
			s, err = m.Wait(ctx, s.Version)
		}
	}
}

// History returns the last states, the oldest first; the last one is the present
// one. LastSuccess in them is as it was then. See [WithHistory].
func (m *Monitor) History() []State {
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	return slices.Clone(m.board.history)
}

// Transitions returns how often the service entered each status, since New: what came
// and went between two looks of an observer is counted too. The map is the caller's.
func (m *Monitor) Transitions() map[probe.Status]uint64 {
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	return maps.Clone(m.board.entered)
}
