package bustest

import (
	"sync"
	"testing/synctest"
	"time"
)

// clock is one that moves by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock(at time.Time) *clock { return &clock{at: at} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Now is the kit's time: that of [StartClock], or the time of package time, which in a
// testing/synctest bubble is the bubble's. Give it to a program that takes its time from a
// function.
func (k *Kit) Now() time.Time {
	if k.clock != nil {
		return k.clock.now()
	}
	return time.Now()
}

// Advance lets d pass. In a testing/synctest bubble timers fire on the way, those of
// back-offs, time-outs and delays among them, and Advance returns when every goroutine of
// the bubble waits for something again. With [StartClock] the clock moves, and nothing
// else. With the real time, which can't be moved, it fails the test.
func (k *Kit) Advance(d time.Duration) {
	k.t.Helper()
	switch {
	case d < 0:
		k.t.Fatalf("bustest: Advance(%v): time does not go back", d)
	case k.bubble:
		time.Sleep(d)
		synctest.Wait()
	case k.clock != nil:
		k.clock.mu.Lock()
		defer k.clock.mu.Unlock()
		k.clock.at = k.clock.at.Add(d)
	default:
		k.t.Fatalf("bustest: Advance(%v): this is the real time: run the test in testing/synctest, or give the kit StartClock", d)
	}
}

// inBubble says whether the caller runs in a testing/synctest bubble.
func inBubble() (in bool) {
	defer func() {
		if !in {
			_ = recover() // Wait panics outside of one
		}
	}()
	synctest.Wait()
	return true
}
