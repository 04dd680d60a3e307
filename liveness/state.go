package liveness

import (
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness/probe"
)

// machine decides. It has no clock, no goroutine and no lock: step and probed are
// told the time and the facts, and their caller does what step says.
type machine struct {
	times times

	started  bool
	closed   bool
	presumed bool // no probe is to be had: live until losses were seen

	// A probe that failed is missed unless there was a sign of life since it began.
	misses   int
	missedAt time.Time // when the last probe that was missed began
	missErr  error     // of the miss that made it two, until then of the last one

	probing    bool
	late       bool      // the probe under way has been counted as missed
	probeBegan time.Time // the last one; zero for none yet
	deadline   time.Time // when a probe that is still under way is missed

	live      bool
	everReady bool
	notLiveAt time.Time // the last time at which it was known not to be live
	tenures   map[any]*tenure
}

// times are the monitor's intervals.
type times struct {
	live, notLive, probe, grace time.Duration
}

const (
	// enoughMisses in a row mean that the broker is gone. One may be a pause of the
	// broker's, or of ours.
	enoughMisses = 2
	// refusedInterval is the least time between probes with credentials that were
	// refused: brokers lock accounts.
	refusedInterval = 5 * time.Second
)

// facts are what is known at one moment. A zero time is never.
type facts struct {
	heard, proven, doubted time.Time
	connection             bus.Connection
	connAt                 time.Time
	loss                   error
	lossAt                 time.Time
	refusal                error
	refusedAt              time.Time
	subs                   []subFact
}

// subFact is a required subscription.
type subFact struct {
	sub      any // identifies it
	topic    string
	assigned bool
	ended    bool
	cause    error // why it is not assigned, or why it ended
}

// tenure is what the machine remembers of a required subscription.
type tenure struct {
	held   bool      // it was assigned before
	lostAt time.Time // since when it isn't any more; zero while it is
}

// verdict is what follows from the facts.
type verdict struct {
	live, ready, healthy bool
	status               probe.Status
	cause                error
	// probe: begin one now, to be reported with probed.
	probe bool
	// wake is when to look again at the latest.
	wake time.Time
	// eager: look again at the first sign of life.
	eager bool
}

// step draws the conclusions.
func (m *machine) step(now time.Time, f facts) verdict {
	if m.closed {
		return verdict{status: probe.Stopped}
	}
	if !m.started {
		return verdict{status: probe.Preparing, healthy: true}
	}
	m.count(now, f)
	refused, refusal := f.refused()
	lost := f.disconnected()
	v := verdict{wake: now.Add(m.times.live)}
	v.live = !refused && !lost && m.misses < enoughMisses && (m.presumed || !f.heard.IsZero())
	if !v.live || !m.live {
		m.notLiveAt = now
	}
	m.live = v.live

	waiting, failed := m.judgeSubs(now, f.subs, &v)
	v.healthy = !refused && failed == nil
	v.ready = v.live && waiting == nil && failed == nil
	m.everReady = m.everReady || v.ready
	switch {
	case refused:
		v.status, v.cause = probe.Failed, refusal
	case failed != nil:
		v.status, v.cause = probe.Failed, failed
	case v.ready:
		v.status = probe.Running
	case lost:
		v.status, v.cause = probe.NotReady, f.lostCause()
	case m.misses >= enoughMisses:
		v.status, v.cause = probe.NotReady, m.silence()
	default: // not heard of yet, or waiting for subscriptions
		v.status, v.cause = probe.Prepared, waiting
		if m.everReady {
			v.status = probe.NotReady
		}
	}
	v.eager = !v.live || m.misses > 0
	m.schedule(now, f, refused, &v)
	return v
}

// count keeps the count of missed probes up to date.
func (m *machine) count(now time.Time, f facts) {
	if m.probing && !now.Before(m.deadline) {
		m.miss(m.probeBegan, errStuck, f)
		m.late, m.probeBegan = true, now
		m.deadline = now.Add(max(m.times.notLive, m.times.probe))
	}
	if f.heard.After(m.missedAt) {
		m.misses = 0
	}
	// Without probes losses stand in for them; a burst is one.
	if m.presumed && f.lossAt.After(f.heard) && f.lossAt.After(m.missedAt) &&
		(m.misses == 0 || !f.lossAt.Before(m.missedAt.Add(m.times.notLive))) {
		m.miss(f.lossAt, f.loss, f)
	}
}

// miss counts a probe that began then, unless there was a sign of life since.
func (m *machine) miss(began time.Time, err error, f facts) {
	if f.heard.After(m.missedAt) {
		m.misses = 0
	}
	if f.heard.After(began) {
		return
	}
	if m.misses < enoughMisses { // afterwards the cause stays what it was
		m.missErr = err
	}
	m.misses++
	m.missedAt = began
}

// probed reports the end of the probe under way. A success is to be among the facts
// of the next step.
func (m *machine) probed(err error, f facts) {
	late := m.late
	m.probing, m.late = false, false
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
			m.miss(m.probeBegan, err, f)
		}
	}
}

// judgeSubs says why the service has to wait for its subscriptions, and why waiting
// won't help; nil for neither.
func (m *machine) judgeSubs(now time.Time, subs []subFact, v *verdict) (waiting, failed error) {
	known := m.tenures
	m.tenures = make(map[any]*tenure, len(subs))
	for _, s := range subs {
		t := known[s.sub]
		if t == nil {
			t = &tenure{}
		}
		m.tenures[s.sub] = t
		switch {
		case s.ended:
			if err := s.overError(); !failure(s.cause) {
				waiting = first(waiting, err)
			} else {
				failed = first(failed, err)
			}
		case s.assigned:
			t.held, t.lostAt = true, time.Time{}
		default:
			if t.lostAt.IsZero() {
				t.lostAt = now
			}
			until := t.lostAt.Add(m.times.grace)
			// The grace is for rebalances: none before the first assignment, nor for
			// what was lost with the connection.
			if t.held && t.lostAt.After(m.notLiveAt) && now.Before(until) {
				v.wakeBy(until)
			} else {
				waiting = first(waiting, s.unassignedError())
			}
		}
	}
	return waiting, failed
}

// schedule says whether to probe now, and when to look again.
func (m *machine) schedule(now time.Time, f facts, refused bool, v *verdict) {
	if m.probing {
		v.wakeBy(m.deadline)
		return
	}
	due := now
	switch {
	case refused:
		due = latest(m.probeBegan, f.connAt, f.refusedAt).Add(max(refusedInterval, m.times.notLive))
	case m.presumed:
		due = m.probeBegan.Add(m.times.live) // it may become possible, and tells when the bus is closed
	case m.live && m.misses == 0:
		due = latest(m.probeBegan, f.heard).Add(m.times.live)
		if f.doubted.After(f.heard) && f.doubted.After(m.probeBegan) {
			due = m.probeBegan.Add(m.times.notLive)
		}
	case !m.probeBegan.IsZero():
		due = m.probeBegan.Add(m.times.notLive)
	}
	if due.After(now) {
		v.wakeBy(due)
		return
	}
	v.probe = true
	m.probing, m.probeBegan = true, now
	// A little more than it has: this is for a prober that does not end with its
	// context.
	m.deadline = now.Add(maxPatience*m.times.probe + m.times.probe/4)
	v.wakeBy(m.deadline)
}

func (v *verdict) wakeBy(t time.Time) {
	if t.Before(v.wake) {
		v.wake = t
	}
}

// refused says whether, as far as is known, the broker does not accept our
// credentials, and why.
func (f *facts) refused() (bool, error) {
	switch {
	case f.connection.State == bus.Refused && !f.proven.After(f.connAt):
		if f.connection.Cause == nil {
			return true, &bus.Error{Code: bus.CodeUnauthenticated, Op: opConnect, Reason: "the broker refused the connection: check the credentials"}
		}
		return true, f.connection.Cause
	case f.refusal != nil && !f.proven.After(f.refusedAt):
		return true, f.refusal
	default:
		return false, nil
	}
}

// disconnected says whether the transport has lost every connection, and nothing
// that began after that has worked.
func (f *facts) disconnected() bool {
	return f.connection.State == bus.Disconnected && !f.proven.After(f.connAt)
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
