package bus

import (
	"context"
	"sync/atomic"
)

// gate counts the calls that are under way, lets none in once it is shut, and
// tells when the last one has left.
type gate struct {
	state atomic.Int64 // calls under way times two, plus one when shut
	empty chan struct{}
}

func newGate() *gate { return &gate{empty: make(chan struct{})} }

// enter returns false when the gate is shut.
func (g *gate) enter() bool {
	for {
		s := g.state.Load()
		if s&1 == 1 {
			return false
		}
		if g.state.CompareAndSwap(s, s+2) {
			return true
		}
	}
}

func (g *gate) leave() {
	if g.state.Add(-2) == 1 {
		close(g.empty)
	}
}

// shut lets no one in from now on. It must be called once.
func (g *gate) shut() {
	if g.state.Add(1) == 1 {
		close(g.empty)
	}
}

// wait returns when the gate is shut and everybody has left, or ctx ends.
func (g *gate) wait(ctx context.Context) error {
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-g.empty: // both: whatever select picked
		return nil
	default:
		return ctx.Err()
	}
}
