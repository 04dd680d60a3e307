package bus

import (
	"context"
	"sync"
	"time"
)

// expiry ends the waits of publications whose messages have no deadline of their own.
// All of them have the same time-out, so those who wait longest come first, and one
// timer does for all: setting one for each costs as much as publishing does besides.
// The timer runs while anybody waits, and fires at most once for each time-out.
type expiry struct {
	timeout time.Duration

	mu          sync.Mutex
	first, last *publication // who waits, linked through them
	timer       *time.Timer  // nil while nobody ever waited
	running     bool
}

// add begins the wait of p. It ends with remove, or with p being given up.
func (e *expiry) add(p *publication) {
	p.expires = time.Now().Add(e.timeout)
	e.mu.Lock()
	defer e.mu.Unlock()
	p.before, p.listed = e.last, true
	if e.last != nil {
		e.last.after = p
	} else {
		e.first = p
	}
	e.last = p
	if !e.running {
		e.run(e.timeout)
	}
}

// remove ends the wait of p. Afterwards e knows nothing of p.
func (e *expiry) remove(p *publication) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.listed {
		e.unlink(p)
	}
}

func (e *expiry) run(d time.Duration) {
	e.running = true
	if e.timer == nil {
		e.timer = time.AfterFunc(d, e.expire)
	} else {
		e.timer.Reset(d)
	}
}

func (e *expiry) unlink(p *publication) {
	if p.before != nil {
		p.before.after = p.after
	} else {
		e.first = p.after
	}
	if p.after != nil {
		p.after.before = p.before
	} else {
		e.last = p.before
	}
	p.before, p.after, p.listed = nil, nil, false
}

// expire gives up on those whose time is over.
func (e *expiry) expire() {
	for _, p := range e.overdue(time.Now()) {
		p.giveUp(&p.own, context.DeadlineExceeded)
	}
}

// overdue takes those whose time is over off the list, and sets the timer for the next
// one. Who waited for them may go on meanwhile, and must not use them again.
func (e *expiry) overdue(now time.Time) (over []*publication) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = false
	for e.first != nil {
		if left := e.first.expires.Sub(now); left > 0 {
			e.run(left)
			break
		}
		p := e.first
		e.unlink(p)
		p.keep()
		over = append(over, p)
	}
	return over
}

// stop ends the timer. Nobody waits any more.
func (e *expiry) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
	}
}
