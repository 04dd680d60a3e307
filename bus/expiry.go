package bus

import (
	"context"
	"sync"
	"time"
)

// expiry ends publications whose messages have no deadline. It ends each one when the delivery
// time-out has passed. All of them have the same time-out, so they expire in the order in which
// they began, and one timer is enough. A timer for each publication would cost as much as the rest
// of publishing. The timer runs while a publication waits, and fires at most once per time-out.
type expiry struct {
	timeout time.Duration

	mu          sync.Mutex
	first, last *publication // a list of the publications that wait
	timer       *time.Timer  // nil until a publication waits
	running     bool
}

// add starts the time-out of p. remove cancels it.
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

// remove cancels the time-out of p. Afterwards e has no reference to p.
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

// expire ends the publications whose time-out has passed, with CodeOutcomeUnknown.
func (e *expiry) expire() {
	for _, p := range e.overdue(time.Now()) {
		p.giveUp(&p.own, context.DeadlineExceeded)
	}
}

// overdue removes the publications whose time-out has passed, and sets the timer for the next
// one. It calls keep for each of them, because Publish may return before expire calls giveUp.
func (e *expiry) overdue(now time.Time) (expired []*publication) {
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
		expired = append(expired, p)
	}
	return expired
}

// stop stops the timer. It is called when no publication waits any more.
func (e *expiry) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
	}
}
