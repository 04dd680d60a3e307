package liveness

import (
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness/probe"
)

// machine decides the status of the service. It has no clock, no goroutine and no lock:
// the caller passes the time and the facts to step and pinged, and acts on the verdict.
type machine struct {
	times times

	started  bool
	closed   bool
	presumed bool // pings are unsupported, so the bus is presumed live until losses are observed

	// A failed ping counts as missed, unless there was a sign of life since it began.
	misses   int       // in a row
	missedAt time.Time // when the last missed ping began
	missErr  error     // error of the last miss; not changed after misses reaches missesUntilLost

	pinging   bool
	late      bool      // the ping under way has been counted as missed
	pingBegan time.Time // when the last ping began; zero before the first
	deadline  time.Time // when a ping that is still under way is missed

	live      bool
	everReady bool
	notLiveAt time.Time // the last time at which the machine was not live
	subs      map[any]*subState
}

// times are the monitor's intervals.
type times struct {
	live, notLive, ping, grace time.Duration
}

const (
	// missesUntilLost is the number of misses in a row after which the broker counts as lost.
	// A single miss may be a pause of the broker or of this process.
	missesUntilLost = 2
	// refusedInterval is the least time between pings with credentials that the broker has
	// rejected. A broker may lock an account after several attempts.
	refusedInterval = 5 * time.Second
)

// facts are what the watcher has recorded up to one moment. A zero time means never.
type facts struct {
	heard   time.Time // the last sign of life
	proven  time.Time // the latest time at which the broker certainly worked
	doubted time.Time // the last failure that may mean that the broker is lost

	connection driver.Connection
	connAt     time.Time
	loss       error
	lossAt     time.Time
	refusal    error
	refusedAt  time.Time
	subs       []subFact
}

// subFact is a required subscription.
type subFact struct {
	sub      any // identifies it
	topic    string
	assigned bool
	ended    bool
	cause    error // why the subscription is not assigned, or why it ended
}

// subState is what the machine remembers of a required subscription.
type subState struct {
	assignedBefore bool
	lostAt         time.Time // when it lost its assignment; zero while it has one
}

// verdict is the decision that step makes.
type verdict struct {
	live   bool
	status probe.Status
	cause  error
	// ping means: begin a ping now, and pass its result to pinged.
	ping bool
	// wake is the latest time for the next step.
	wake time.Time
	// eager means: call step at the first sign of life.
	eager bool
}

// step decides the status of the service from the facts, and what the caller does next.
func (m *machine) step(now time.Time, f facts) verdict {
	if m.closed {
		return verdict{status: probe.Stopped}
	}
	if !m.started {
		return verdict{status: probe.Preparing}
	}
	m.count(now, f)
	refused, refusal := f.refused()
	lost := f.disconnected()
	v := verdict{wake: now.Add(m.times.live)}
	v.live = !refused && !lost && m.misses < missesUntilLost && (m.presumed || !f.heard.IsZero())
	if !v.live || !m.live {
		m.notLiveAt = now
	}
	m.live = v.live

	waiting, failed := m.judgeSubs(now, f.subs, &v)
	ready := v.live && waiting == nil && failed == nil
	m.everReady = m.everReady || ready
	switch {
	case refused:
		v.status, v.cause = probe.Failed, refusal
	case failed != nil:
		v.status, v.cause = probe.Failed, failed
	case ready:
		v.status = probe.Running
	case lost:
		v.status, v.cause = probe.NotReady, f.lostCause()
	case m.misses >= missesUntilLost:
		v.status, v.cause = probe.NotReady, m.silence()
	default: // no sign of life yet, or waiting for subscriptions
		v.status, v.cause = probe.Prepared, waiting
		if m.everReady {
			v.status = probe.NotReady
		}
	}
	v.eager = !v.live || m.misses > 0
	m.schedule(now, f, refused, &v)
	return v
}

// count keeps the number of missed pings up to date.
func (m *machine) count(now time.Time, f facts) {
	if m.pinging && !now.Before(m.deadline) {
		m.miss(m.pingBegan, errStuck, f)
		m.late, m.pingBegan = true, now
		m.deadline = now.Add(max(m.times.notLive, m.times.ping))
	}
	if f.heard.After(m.missedAt) {
		m.misses = 0
	}
	// Without pings, a loss counts as a missed ping. Losses within the not-live interval
	// count as one.
	if m.presumed && f.lossAt.After(f.heard) && f.lossAt.After(m.missedAt) &&
		(m.misses == 0 || !f.lossAt.Before(m.missedAt.Add(m.times.notLive))) {
		m.miss(f.lossAt, f.loss, f)
	}
}

// miss counts a ping that began at that time as missed, unless there was a sign of life
// since.
func (m *machine) miss(began time.Time, err error, f facts) {
	if f.heard.After(m.missedAt) {
		m.misses = 0
	}
	if f.heard.After(began) {
		return
	}
	if m.misses < missesUntilLost { // afterwards the cause stays the same
		m.missErr = err
	}
	m.misses++
	m.missedAt = began
}

// pinged records the result of the ping under way. After a success, the facts of the next
// step must contain the sign of life.
func (m *machine) pinged(err error, f facts) {
	late := m.late
	m.pinging, m.late = false, false
	if err == nil {
		m.presumed = false
		return
	}
	switch bus.CodeOf(err) {
	case bus.CodeUnsupported:
		m.presumed = true
	case bus.CodeClosed:
		m.closed = true
	default:
		if !late {
			m.miss(m.pingBegan, err, f)
		}
	}
}

// judgeSubs decides whether the required subscriptions allow the service to be ready. If
// not, waiting is why it is not ready yet, or failed is why it is Failed. Both can be set.
func (m *machine) judgeSubs(now time.Time, subs []subFact, v *verdict) (waiting, failed error) {
	known := m.subs
	m.subs = make(map[any]*subState, len(subs))
	for _, s := range subs {
		st := known[s.sub]
		if st == nil {
			st = &subState{}
		}
		m.subs[s.sub] = st
		switch {
		case s.ended && isFailure(s.cause):
			failed = first(failed, s.endedError())
		case s.ended:
			waiting = first(waiting, s.endedError())
		case s.assigned:
			st.assignedBefore, st.lostAt = true, time.Time{}
		default:
			if st.lostAt.IsZero() {
				st.lostAt = now
			}
			until := st.lostAt.Add(m.times.grace)
			// The grace period is for rebalances. There is none before the first assignment,
			// nor for an assignment that was lost with the connection.
			if st.assignedBefore && st.lostAt.After(m.notLiveAt) && now.Before(until) {
				v.wakeBy(until)
			} else {
				waiting = first(waiting, s.unassignedError())
			}
		}
	}
	return waiting, failed
}

// schedule decides whether to ping now, and when to step again.
func (m *machine) schedule(now time.Time, f facts, refused bool, v *verdict) {
	if m.pinging {
		v.wakeBy(m.deadline)
		return
	}
	due := now
	switch {
	case refused:
		due = latest(m.pingBegan, f.connAt, f.refusedAt).Add(max(refusedInterval, m.times.notLive))
	case m.presumed:
		due = m.pingBegan.Add(m.times.live) // a later ping may be supported, or find the bus closed
	case m.live && m.misses == 0:
		due = latest(m.pingBegan, f.heard).Add(m.times.live)
		if f.doubted.After(f.heard) && f.doubted.After(m.pingBegan) {
			due = m.pingBegan.Add(m.times.notLive)
		}
	case !m.pingBegan.IsZero():
		due = m.pingBegan.Add(m.times.notLive)
	}
	if due.After(now) {
		v.wakeBy(due)
		return
	}
	v.ping = true
	m.pinging, m.pingBegan = true, now
	// This deadline is later than the end of the ping's context. It detects a ping function
	// that does not return when its context ends.
	m.deadline = now.Add(maxTimeoutFactor*m.times.ping + m.times.ping/4)
	v.wakeBy(m.deadline)
}

func (v *verdict) wakeBy(t time.Time) {
	if t.Before(v.wake) {
		v.wake = t
	}
}

// refused reports whether the broker rejected the credentials and nothing has succeeded
// since, and returns the cause.
func (f *facts) refused() (bool, error) {
	switch {
	case f.connection.State == driver.Refused && !f.proven.After(f.connAt):
		if f.connection.Cause == nil {
			return true, errRefused
		}
		return true, f.connection.Cause
	case f.refusal != nil && !f.proven.After(f.refusedAt):
		return true, f.refusal
	default:
		return false, nil
	}
}

// disconnected reports whether the transport has lost every connection, and no operation
// that began later has succeeded.
func (f *facts) disconnected() bool {
	return f.connection.State == driver.Disconnected && !f.proven.After(f.connAt)
}

func latest(ts ...time.Time) (last time.Time) {
	for _, t := range ts {
		if t.After(last) {
			last = t
		}
	}
	return last
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
