package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

const (
	verifyTimeout  = 2 * time.Second
	refusedBackoff = 5 * time.Second
	returnBackoff  = time.Second
)

// monitor owns the state of the connection. It asks a broker for a sign of life
// whenever a connection is lost, and when there was no traffic for a while; its
// verdict is the transport's state.
type monitor struct {
	ping    func(context.Context) error
	onDown  func() // called when the connection is lost, after that was told
	times   Timeouts
	backoff [2]time.Duration
	kicked  chan struct{} // capacity 1
	reads   func() uint64

	tell     sync.Mutex // serialises observe; taken before mu
	observe  func(driver.Connection)
	silenced bool

	mu      sync.Mutex
	state   driver.Connection
	changed chan struct{} // closed and replaced at each change
}

func newMonitor(o *options, t *traffic) *monitor {
	m := &monitor{
		times: o.times, backoff: [2]time.Duration{o.backoffMin, o.backoffMax},
		kicked: make(chan struct{}, 1), reads: t.read.Load,
		state: driver.Connection{State: driver.Connecting, Since: time.Now()}, changed: make(chan struct{}),
	}
	t.lost = m.kick
	return m
}

// kick makes the monitor look at once.
func (m *monitor) kick() {
	select {
	case m.kicked <- struct{}{}:
	default:
	}
}

// current returns the state, and a channel that closes when it changes.
func (m *monitor) current() (driver.Connection, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, m.changed
}

// watch registers the observer and calls it with the present state.
func (m *monitor) watch(observe func(driver.Connection)) {
	m.tell.Lock()
	defer m.tell.Unlock()
	m.observe = observe
	if s, _ := m.current(); !m.silenced {
		observe(s)
	}
}

// silence ends all calls of the observer.
func (m *monitor) silence() {
	m.tell.Lock()
	defer m.tell.Unlock()
	m.silenced = true
}

func (m *monitor) set(state driver.ConnectionState, cause error) {
	m.tell.Lock()
	defer m.tell.Unlock()
	m.mu.Lock()
	if m.state.State == state {
		if state != driver.Connected {
			m.state.Cause = cause
		}
		m.mu.Unlock()
		return
	}
	m.state = driver.Connection{State: state, Cause: cause, Since: time.Now()}
	s := m.state
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	if m.observe != nil && !m.silenced {
		m.observe(s)
	}
}

// run lasts until ctx ends.
func (m *monitor) run(ctx context.Context) {
	ever := false
	wait := m.backoff[0]
	timeout := m.times.Dial + m.times.Request
	for ctx.Err() == nil {
		err := m.check(ctx, timeout)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			m.set(driver.Connected, nil)
			ever, wait = true, m.backoff[0]
			timeout = m.idle(ctx)
			continue
		case refused(err):
			m.set(driver.Refused, fail("connect", "", err))
			wait = refusedBackoff
		default:
			before, _ := m.current()
			m.set(driver.Disconnected, fail("connect", "", unavailable(err)))
			if before.State == driver.Connected {
				m.onDown()
			}
		}
		sleep(ctx, jitter(wait))
		most := m.backoff[1]
		if ever {
			most = min(most, returnBackoff)
		}
		wait = min(wait*2, most)
		timeout = verifyTimeout
		select { // what was lost meanwhile is known
		case <-m.kicked:
		default:
		}
	}
}

// idle waits until it is time to look again, and returns how long the look may take.
func (m *monitor) idle(ctx context.Context) time.Duration {
	for {
		seen := m.reads()
		timer := time.NewTimer(m.times.KeepAlive / 2)
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0
		case <-m.kicked:
			timer.Stop()
			return min(verifyTimeout, m.times.Request)
		case <-timer.C:
			if m.reads() == seen {
				return m.times.Request
			}
		}
	}
}

// check asks for a sign of life. Whatever any connection received meanwhile is one, so
// a slow machine is not taken for a lost broker.
func (m *monitor) check(ctx context.Context, timeout time.Duration) error {
	seen := m.reads()
	asking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := m.ping(asking)
	if err != nil && asking.Err() != nil && m.reads() != seen {
		return nil
	}
	return err
}

// ready waits until the state is Connected.
func (m *monitor) ready(ctx context.Context, op, topic string) error {
	for {
		s, changed := m.current()
		switch s.State {
		case driver.Connected:
			return nil
		case driver.Refused:
			return failCode(codeOf(s.Cause), op, topic, "", s.Cause)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			reason := "no broker answered yet"
			if s.Cause != nil {
				reason = "no broker answers"
			}
			return failCode(driver.CodeUnavailable, op, topic, reason, errors.Join(s.Cause, ctx.Err()))
		}
	}
}

func refused(err error) bool {
	c := codeOf(err)
	return c == driver.CodeUnauthenticated || c == driver.CodePermissionDenied
}

// unavailable makes sure that a lost connection is told as Unavailable, also when all
// that is known is that the answer did not come in time.
func unavailable(err error) error {
	if codeOf(err) == driver.CodeUnavailable {
		return err
	}
	return failCode(driver.CodeUnavailable, "connect", "", "no broker answered", err)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
