package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

const (
	// verifyTimeout limits a probe after a connection was lost.
	verifyTimeout = 2 * time.Second
	// refusedPause is the pause between attempts while brokers reject the credentials.
	refusedPause = 5 * time.Second
	// maxRetryPause is the longest pause between attempts after a connection existed once.
	maxRetryPause = time.Second
)

// connectionMonitor determines the state of the transport's connection. It probes a broker
// whenever a connection is lost, and after a time without traffic.
type connectionMonitor struct {
	probe     func(context.Context) error
	onDown    func() // called when the connection is lost, after the observer
	times     Timeouts
	reconnect [2]time.Duration // the shortest and the longest pause
	wake      chan struct{}    // capacity 1
	reads     func() uint64

	notifying sync.Mutex // serializes calls of observe; locked before mu
	observe   func(driver.Connection)
	stopped   bool // observe is not called any more

	mu      sync.Mutex
	state   driver.Connection
	changed chan struct{} // closed and replaced at each change
}

func newConnectionMonitor(o *options, t *traffic) *connectionMonitor {
	m := &connectionMonitor{
		times: o.times, reconnect: [2]time.Duration{o.reconnectMin, o.reconnectMax},
		wake: make(chan struct{}, 1), reads: t.read.Load,
		state: driver.Connection{State: driver.Connecting, Since: time.Now()}, changed: make(chan struct{}),
	}
	t.lost = m.probeNow
	return m
}

// probeNow makes the monitor probe without delay. It does not wait for the probe.
func (m *connectionMonitor) probeNow() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// current returns the state, and a channel that is closed when it changes.
func (m *connectionMonitor) current() (driver.Connection, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, m.changed
}

// setObserver sets the observer and calls it with the current state.
func (m *connectionMonitor) setObserver(observe func(driver.Connection)) {
	m.notifying.Lock()
	defer m.notifying.Unlock()
	m.observe = observe
	if s, _ := m.current(); !m.stopped {
		observe(s)
	}
}

// stopObserver prevents further calls of the observer.
func (m *connectionMonitor) stopObserver() {
	m.notifying.Lock()
	defer m.notifying.Unlock()
	m.stopped = true
}

func (m *connectionMonitor) set(state driver.ConnectionState, cause error) {
	m.notifying.Lock()
	defer m.notifying.Unlock()
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
	if m.observe != nil && !m.stopped {
		m.observe(s)
	}
}

// run returns when ctx ends.
func (m *connectionMonitor) run(ctx context.Context) {
	connectedOnce := false
	pause := m.reconnect[0]
	timeout := m.times.Dial + m.times.Request
	for ctx.Err() == nil {
		err := m.check(ctx, timeout)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			m.set(driver.Connected, nil)
			connectedOnce, pause = true, m.reconnect[0]
			timeout = m.awaitNextProbe(ctx)
			continue
		case isRefused(err):
			m.set(driver.Refused, fail("connect", "", err))
			pause = refusedPause
		default:
			before, _ := m.current()
			m.set(driver.Disconnected, fail("connect", "", asUnavailable(err)))
			if before.State == driver.Connected {
				m.onDown()
			}
		}
		sleep(ctx, jitter(pause))
		longest := m.reconnect[1]
		if connectedOnce {
			longest = min(longest, maxRetryPause)
		}
		pause = min(pause*2, longest)
		timeout = verifyTimeout
		select { // the next probe covers connections that were lost in the meantime
		case <-m.wake:
		default:
		}
	}
}

// awaitNextProbe waits until the next probe is due, and returns the time-out for it.
func (m *connectionMonitor) awaitNextProbe(ctx context.Context) time.Duration {
	for {
		before := m.reads()
		timer := time.NewTimer(m.times.KeepAlive / 2)
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0
		case <-m.wake:
			timer.Stop()
			return min(verifyTimeout, m.times.Request)
		case <-timer.C:
			if m.reads() == before {
				return m.times.Request
			}
		}
	}
}

// check probes a broker. If the probe times out but another connection has received data
// meanwhile, check returns nil, so that a slow machine is not mistaken for a lost broker.
func (m *connectionMonitor) check(ctx context.Context, timeout time.Duration) error {
	before := m.reads()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := m.probe(limited)
	if err != nil && limited.Err() != nil && m.reads() != before {
		return nil
	}
	return err
}

// ready waits until the state is Connected. It returns an error if ctx ends first, or if
// brokers reject the credentials.
func (m *connectionMonitor) ready(ctx context.Context, op, topic string) error {
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
			reason := "no broker has answered yet"
			if s.Cause != nil {
				reason = "no broker answers"
			}
			return failCode(driver.CodeUnavailable, op, topic, reason, errors.Join(s.Cause, ctx.Err()))
		}
	}
}

// asUnavailable returns the cause of a lost connection with the code Unavailable. The cause
// can have another code, for example if the answer did not arrive in time.
func asUnavailable(err error) error {
	if codeOf(err) == driver.CodeUnavailable {
		return err
	}
	return failCode(driver.CodeUnavailable, "connect", "", "no broker answered", err)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
