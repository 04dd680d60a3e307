package liveness

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness/probe"
)

// script steps a machine. Times are milliseconds since an arbitrary start.
type script struct {
	t *testing.T
	m machine
	f facts
	v verdict
}

var began = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }

func defaultTimes(t *testing.T) times {
	t.Helper()
	c, err := newConfig(nil)
	require.NoError(t, err)
	return c.times
}

func newScript(t *testing.T) *script {
	return &script{t: t, m: machine{started: true, times: defaultTimes(t)}}
}

func (s *script) step(ms int) verdict {
	s.v = s.m.step(at(ms), s.f)
	return s.v
}

// heard is a sign of life that began when it was heard.
func (s *script) heard(ms int) *script {
	s.f.heard, s.f.proven = at(ms), at(ms)
	return s
}

func (s *script) connection(ms int, state driver.Connection) *script {
	s.f.connection, s.f.connAt = state, at(ms)
	if state.State == driver.Connected {
		s.heard(ms)
	}
	return s
}

// pinged ends the ping under way.
func (s *script) pinged(ms int, err error) {
	require.True(s.t, s.m.pinging, "no ping is under way")
	if err == nil {
		s.f.heard, s.f.proven = at(ms), s.m.pingBegan
	}
	s.m.pinged(err, s.f)
	s.step(ms)
}

func (s *script) is(status probe.Status, live bool) {
	s.t.Helper()
	require.Equal(s.t, status, s.v.status, "cause: %v", s.v.cause)
	require.Equal(s.t, live, s.v.live)
}

var (
	errTimeout = &bus.Error{Code: bus.CodeDeadlineExceeded, Op: "ping"}
	errGone    = &bus.Error{Code: bus.CodeUnavailable, Op: "connect"}
)

func TestMachineIsPreparingUntilStarted(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.m.started = false
	s.step(0)
	s.is(probe.Preparing, false)
	require.False(t, s.v.ping)
	s.m.started = true
	s.step(1)
	s.is(probe.Prepared, false)
	require.True(t, s.v.ping, "nothing is known yet")
}

func TestSilentBrokerIsNotLiveAfterTwoMissedPings(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	s.step(0)
	s.is(probe.Running, true)
	require.False(t, s.v.ping)
	require.Equal(t, at(500), s.v.wake)
	require.False(t, s.v.eager)

	require.True(t, s.step(500).ping)
	require.False(t, s.step(700).ping, "one ping at a time")
	s.pinged(1000, errTimeout)
	s.is(probe.Running, true)
	require.True(t, s.v.ping)
	require.True(t, s.v.eager, "a sign of life makes it certain at once")
	s.pinged(1500, errTimeout)
	s.is(probe.NotReady, false)
	require.ErrorIs(t, s.v.cause, errTimeout)
	require.True(t, s.v.eager)
	require.True(t, s.v.ping)

	s.pinged(1600, nil)
	s.is(probe.Running, true)
	require.NoError(t, s.v.cause)
	require.Equal(t, at(2100), s.v.wake)
}

// While the broker stays lost, each ping may fail in another way. A cause that changed with
// each of them would be a change of the registry each time.
func TestCauseOfSilenceStaysTheSame(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	require.True(t, s.step(500).ping)
	s.pinged(501, errGone)
	require.True(t, s.step(750).ping)
	s.pinged(1250, errTimeout)
	s.is(probe.NotReady, false)
	cause := s.v.cause
	require.ErrorIs(t, cause, errTimeout, "the cause is the second missed ping")

	for i, err := range []error{errGone, errTimeout, errGone} {
		if !s.m.pinging {
			require.True(t, s.step(2000+1000*i).ping)
		}
		s.pinged(2001+1000*i, err)
		s.is(probe.NotReady, false)
		require.EqualError(t, s.v.cause, cause.Error())
	}
}

func TestRefusedConnectionsAreDetectedSooner(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	require.True(t, s.step(500).ping)
	s.pinged(501, errGone)
	require.False(t, s.v.ping)
	require.Equal(t, at(750), s.v.wake)
	require.True(t, s.step(750).ping)
	s.pinged(751, errGone)
	s.is(probe.NotReady, false)
}

func TestSignOfLifeResetsMisses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		heard int // a sign of life at this time; the pings run from 500 to 1000 and from 1000 to 1500
		live  bool
	}{
		{"before the first", 400, false},
		{"during the first", 700, true},
		{"during the second", 1200, true},
		{"after the verdict", 1600, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
			require.True(t, s.step(500).ping)
			hear := func(until int) {
				if c.heard < until && s.f.heard.Before(at(c.heard)) {
					s.heard(c.heard) // without a step
				}
			}
			hear(1000)
			s.pinged(1000, errTimeout)
			if !s.m.pinging {
				require.True(t, s.step(1200).ping)
			}
			hear(1500)
			s.pinged(1700, errTimeout)
			hear(2000)
			s.step(1700)
			require.Equal(t, c.live, s.v.live)
		})
	}
}

func TestLostConnectionsAreNotLiveAtOnce(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	s.step(0)
	s.connection(100, driver.Connection{State: driver.Disconnected, Cause: errGone})
	s.step(100)
	s.is(probe.NotReady, false)
	require.Equal(t, errGone, s.v.cause)

	s.f.heard, s.f.proven = at(110), at(90) // an acknowledgement of an operation from before the loss
	s.step(110)
	s.is(probe.NotReady, false)

	s.f.heard, s.f.proven = at(130), at(120) // an operation that began after the loss
	s.step(130)
	s.is(probe.Running, true)

	s.connection(200, driver.Connection{State: driver.Disconnected})
	s.step(200)
	s.is(probe.NotReady, false)
	require.Equal(t, bus.CodeUnavailable, bus.CodeOf(s.v.cause))
	s.connection(300, driver.Connection{State: driver.Connected})
	s.step(300)
	s.is(probe.Running, true)
}

func TestBrokerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.step(0)
	s.is(probe.Prepared, false)
	s.pinged(10, errGone)
	s.is(probe.Prepared, false)
	s.step(250)
	s.pinged(260, errGone)
	s.is(probe.NotReady, false)
}

func TestRejectedCredentialsFailAndAreTriedSlowly(t *testing.T) {
	t.Parallel()
	denied := &bus.Error{Code: bus.CodeUnauthenticated, Op: "connect"}
	for _, c := range []struct {
		name   string
		refuse func(s *script)
	}{
		{"reported by the transport", func(s *script) { s.connection(100, driver.Connection{State: driver.Refused, Cause: denied}) }},
		{"reported by an operation", func(s *script) { s.f.refusal, s.f.refusedAt = denied, at(100) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
			s.step(0)
			c.refuse(s)
			s.step(100)
			s.is(probe.Failed, false)
			require.Equal(t, denied, s.v.cause)
			require.False(t, s.v.ping)
			require.False(t, s.step(5099).ping, "rejected credentials are tried slowly")
			require.True(t, s.step(5100).ping)
			s.pinged(5101, denied)
			s.is(probe.Failed, false)
			require.True(t, s.step(10100).ping)
			s.pinged(10101, nil)
			s.is(probe.Running, true)
		})
	}
}

func TestDoubtCausesAPingAtOnce(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	s.step(0)
	s.f.doubted = at(100)
	require.True(t, s.step(100).ping)
	s.pinged(101, nil)
	s.is(probe.Running, true)
	s.f.doubted = at(110)
	require.False(t, s.step(110).ping, "rate limited")
	require.Equal(t, at(350), s.v.wake)
	s.heard(120) // something worked since
	require.False(t, s.step(350).ping)
	require.Equal(t, at(620), s.v.wake)
}

func TestPingThatDoesNotEndCountsAsMissed(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	require.True(t, s.step(500).ping)
	s.step(1624)
	require.Zero(t, s.m.misses)
	s.step(1625)
	require.Equal(t, 1, s.m.misses)
	s.is(probe.Running, true)
	require.False(t, s.v.ping)
	s.step(2124)
	s.is(probe.Running, true)
	s.step(2125)
	s.is(probe.NotReady, false)
	require.ErrorIs(t, s.v.cause, errStuck)
	s.pinged(9000, errTimeout)
	require.Equal(t, 2, s.m.misses, "it was counted when it was due")
	require.True(t, s.v.ping)
	s.pinged(9100, nil)
	s.is(probe.Running, true)
}

// A sign of life while the ping is stuck does not hide the silence after it.
func TestMachineStepsAtTheDeadlineOfAPing(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	s.m.times.live = time.Hour
	require.True(t, s.step(3_600_000).ping)
	require.Equal(t, s.m.deadline, s.v.wake)
	s.step(3_600_001)
	require.False(t, s.v.ping)
	require.Equal(t, s.m.deadline, s.v.wake, "it stays the deadline of the ping under way")
}

func TestLostConnectionIsPingedAtTheShorterInterval(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	s.step(0)
	s.connection(100, driver.Connection{State: driver.Disconnected, Cause: errGone})
	require.True(t, s.step(100).ping)
	s.pinged(110, nil) // an answer to a request from before the loss
	s.is(probe.NotReady, false)
	next := at(100).Add(s.m.times.notLive)
	require.Equal(t, next, s.v.wake)
	require.True(t, s.m.step(next, s.f).ping)
}

func TestSignOfLifeDuringAStuckPing(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	require.True(t, s.step(500).ping)
	s.heard(1000)
	s.step(1625)
	require.Zero(t, s.m.misses)
	s.step(2125)
	require.Equal(t, 1, s.m.misses)
	s.step(2625)
	s.is(probe.NotReady, false)
}

// A delivered record may prove later that the broker worked between two pings.
func TestLateSignOfLifeBetweenTwoMissedPings(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	require.True(t, s.step(500).ping)
	s.pinged(1000, errTimeout)
	require.True(t, s.m.pinging, "the second ping has begun")
	s.heard(900) // without a step
	s.pinged(1500, errTimeout)
	s.is(probe.Running, true)
	require.Equal(t, 1, s.m.misses)
}

func TestRejectionOutlastsAcknowledgementsFromBeforeIt(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	s.step(0)
	s.f.refusal, s.f.refusedAt = &bus.Error{Code: bus.CodeUnauthenticated}, at(100)
	s.f.heard, s.f.proven = at(110), at(90)
	s.step(110)
	s.is(probe.Failed, false)
	s.f.heard, s.f.proven = at(130), at(120)
	s.step(130)
	s.is(probe.Running, true)
}

func TestNotLiveIntervalBoundsTriesOfRejectedCredentials(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.m.times.notLive = 10 * time.Second
	s.connection(0, driver.Connection{State: driver.Refused})
	s.step(0)
	s.is(probe.Failed, false)
	require.Equal(t, errRefused, s.v.cause)
	require.False(t, s.step(9999).ping)
	require.True(t, s.step(10_000).ping)
}

func TestPingsThatBecomeSupported(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.step(0)
	s.pinged(1, &bus.Error{Code: bus.CodeUnsupported, Op: "ping"})
	require.True(t, s.step(500).ping)
	s.pinged(501, nil)
	require.True(t, s.step(1001).ping)
	s.pinged(1002, errGone)
	require.True(t, s.step(1251).ping, "after the not-live interval")
	s.pinged(1252, errGone)
	s.is(probe.NotReady, false)
	require.ErrorContains(t, s.v.cause, "pings in a row failed")
}

func TestMachineWithoutPings(t *testing.T) {
	t.Parallel()
	unsupported := &bus.Error{Code: bus.CodeUnsupported, Op: "ping"}
	lose := func(s *script, ms int) verdict {
		s.f.loss, s.f.lossAt, s.f.doubted = errGone, at(ms), at(ms)
		return s.step(ms)
	}
	s := newScript(t)
	s.step(0)
	s.pinged(1, unsupported)
	s.is(probe.Running, true) // presumed
	require.Equal(t, at(500), s.v.wake)

	lose(s, 100)
	lose(s, 110) // a burst
	s.is(probe.Running, true)
	lose(s, 350)
	s.is(probe.NotReady, false)
	require.ErrorIs(t, s.v.cause, errGone)
	s.heard(400).step(400)
	s.is(probe.Running, true)

	lose(s, 450)
	s.heard(460).step(460)
	require.True(t, lose(s, 800).ping, "pings may be supported by now")
	s.is(probe.Running, true) // something worked in between
	s.pinged(801, unsupported)
	lose(s, 1050)
	s.is(probe.NotReady, false)

	require.True(t, s.heard(1300).step(1300).ping)
	s.pinged(1301, &bus.Error{Code: bus.CodeClosed})
	s.is(probe.Stopped, false)
}

func TestTrafficReplacesPings(t *testing.T) {
	t.Parallel()
	s := newScript(t).connection(0, driver.Connection{State: driver.Connected})
	for ms := 0; ms < 60_000; ms += 100 {
		require.False(t, s.heard(ms).step(ms).ping)
		s.is(probe.Running, true)
	}
}

func TestRequiredSubscriptionsDecideReadiness(t *testing.T) {
	t.Parallel()
	connected := driver.Connection{State: driver.Connected}
	sub := func(assigned bool, cause error) []subFact {
		return []subFact{{sub: 1, topic: "orders", assigned: assigned, cause: cause}}
	}
	over := func(cause error) []subFact {
		return []subFact{{sub: 1, topic: "orders", ended: true, cause: cause}}
	}
	type row struct {
		ms     int
		change func(s *script)
		want   probe.Status
	}
	set := func(subs []subFact) func(*script) { return func(s *script) { s.f.subs = subs } }
	const grace = int(DefaultGrace / time.Millisecond)
	for name, rows := range map[string][]row{
		"no grace period before the first assignment": {
			{0, set(sub(false, nil)), probe.Prepared},
			{100, set(sub(true, nil)), probe.Running},
		},
		"no grace period for a later subscription": {
			{0, nil, probe.Running},
			{100, set(sub(false, nil)), probe.NotReady},
			{200, set(sub(true, nil)), probe.Running},
		},
		"a rebalance within the grace period": {
			{0, set(sub(true, nil)), probe.Running},
			{100, set(sub(false, nil)), probe.Running},
			{99 + grace, nil, probe.Running},
			{99 + grace, set(sub(true, nil)), probe.Running},
			{200 + grace, set(sub(false, nil)), probe.Running},
			{199 + 2*grace, nil, probe.Running},
		},
		"a rebalance that takes longer": {
			{0, set(sub(true, nil)), probe.Running},
			{100, set(sub(false, errors.New("rebalance"))), probe.Running},
			{100 + grace, nil, probe.NotReady},
			{200 + grace, set(sub(true, nil)), probe.Running},
		},
		"no grace period after a lost connection": {
			{0, set(sub(true, nil)), probe.Running},
			{100, set(sub(false, nil)), probe.Running},
			{200, func(s *script) { s.connection(200, driver.Connection{State: driver.Disconnected}) }, probe.NotReady},
			{300, func(s *script) { s.connection(300, connected) }, probe.NotReady},
			{400, set(sub(true, nil)), probe.Running},
		},
		"lost while not live": {
			{0, set(sub(true, nil)), probe.Running},
			{200, func(s *script) { s.connection(200, driver.Connection{State: driver.Disconnected}) }, probe.NotReady},
			{300, func(s *script) { s.connection(300, connected).f.subs = sub(false, nil) }, probe.NotReady},
			{400, set(sub(true, nil)), probe.Running},
		},
		"closed and still required": {
			{0, set(sub(true, nil)), probe.Running},
			{100, set(over(nil)), probe.NotReady},
			{200, set(nil), probe.Running},
		},
		"its context ended": {
			{0, set(over(&bus.Error{Code: bus.CodeCanceled})), probe.Prepared},
		},
		"ended with an error": {
			{0, set(sub(true, nil)), probe.Running},
			{100, set(over(&bus.Error{Code: bus.CodeNotFound})), probe.Failed},
			{200, set(nil), probe.Running},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t).connection(0, connected)
			for _, r := range rows {
				if r.change != nil {
					r.change(s)
				}
				if s.f.connection.State == driver.Connected {
					s.heard(r.ms)
				}
				s.step(r.ms)
				require.Equal(t, r.want, s.v.status, "at %d ms: %v", r.ms, s.v.cause)
				if r.want != probe.Running && s.f.subs != nil {
					require.Error(t, s.v.cause)
				}
			}
		})
	}
}
