package bus

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is exponential with jitter: each pause is between half and the whole of
// a bound that doubles up to highest.
type backoff struct{ bound, highest time.Duration }

func newBackoff(lowest, highest time.Duration) *backoff { return &backoff{lowest, highest} }

func (b *backoff) next() time.Duration {
	d := b.bound/2 + rand.N(b.bound/2+1)
	b.bound = min(b.bound*2, b.highest)
	return d
}

// wait pauses, and returns false when ctx ended first.
func (b *backoff) wait(ctx context.Context) bool { return sleep(ctx, b.next()) }

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
