package bus

import (
	"context"
	"sync/atomic"
)

// calls counts the calls that are in progress. After stop no further call begins; wait
// returns when the last one has ended.
type calls struct {
	state atomic.Int64 // twice the calls in progress, plus one after stop
	ended chan struct{}
}

func newCalls() *calls { return &calls{ended: make(chan struct{})} }

// enter returns false after stop. Otherwise the caller must call leave.
func (c *calls) enter() bool {
	for {
		s := c.state.Load()
		if s&1 == 1 {
			return false
		}
		if c.state.CompareAndSwap(s, s+2) {
			return true
		}
	}
}

func (c *calls) leave() {
	if c.state.Add(-2) == 1 {
		close(c.ended)
	}
}

// stop must be called once.
func (c *calls) stop() {
	if c.state.Add(1) == 1 {
		close(c.ended)
	}
}

// wait returns nil when stop was called and the last call has ended, or the error of ctx.
func (c *calls) wait(ctx context.Context) error {
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-c.ended: // both were ready, and select chose ctx
		return nil
	default:
		return ctx.Err()
	}
}
