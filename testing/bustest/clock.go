package bustest

import (
	"sync"
	"testing/synctest"
	"time"
)

// clock shows a fixed time until Advance moves it.
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

// Now returns the kit's time. That is the time of [WithClock], or without it [time.Now]. Inside
// testing/synctest, time.Now is the time of the synctest bubble. Pass k.Now to a program that
// takes its time from a function.
func (k *Kit) Now() time.Time {
	if k.clock != nil {
		return k.clock.now()
	}
	return time.Now()
}

// Advance moves the time forward by d. Inside testing/synctest, every timer that expires on the
// way fires, such as those of back-offs, time-outs and delays, and Advance returns when every
// goroutine of the bubble is blocked again. With [WithClock], Advance moves only the clock.
// Otherwise the kit has the real time, which cannot be moved, and Advance fails the test.
func (k *Kit) Advance(d time.Duration) {
	k.t.Helper()
	switch {
	case d < 0:
		k.t.Fatalf("bustest: Advance: the duration must not be negative, got %v", d)
	case k.bubble:
		time.Sleep(d)
		synctest.Wait()
	case k.clock != nil:
		k.clock.mu.Lock()
		defer k.clock.mu.Unlock()
		k.clock.at = k.clock.at.Add(d)
	default:
		k.t.Fatalf("bustest: Advance(%v): the real time cannot be moved: run the test inside testing/synctest, or use WithClock", d)
	}
}

// inBubble reports whether the caller runs inside testing/synctest.
func inBubble() (in bool) {
	defer func() {
		if !in {
			_ = recover() // outside of a bubble, Wait panics
		}
	}()
	synctest.Wait()
	return true
}
