package delivery

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is an exponential back-off with jitter. Each pause is between half of the bound and the
// bound. The bound doubles with each pause, up to highest. A Backoff is not safe for concurrent
// use.
type Backoff struct{ bound, highest time.Duration }

// NewBackoff returns a back-off whose first bound is lowest.
func NewBackoff(lowest, highest time.Duration) *Backoff { return &Backoff{lowest, highest} }

// Wait waits for the next pause. It returns false if ctx ends first.
func (b *Backoff) Wait(ctx context.Context) bool {
	d := jitter(b.bound)
	b.bound = min(b.bound*2, b.highest)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter returns a pause between half of bound and bound.
func jitter(bound time.Duration) time.Duration { return bound/2 + rand.N(bound/2+1) }
