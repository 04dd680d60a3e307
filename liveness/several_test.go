package liveness_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
)

func TestMonitorsOfSeveralBusesAreIndependent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := probe.New()
		one, two := newRigOn(t, reg, liveness.WithServiceName("bus-one")), newRigOn(t, reg, liveness.WithServiceName("bus-two"))
		for _, r := range []*rig{one, two} {
			r.start()
			r.fake.report(driver.Connected, nil)
		}
		synctest.Wait()
		require.True(t, reg.Ready())

		one.fake.setPing(answer(errGone))
		one.fake.report(driver.Disconnected, errGone)
		synctest.Wait()
		require.Equal(t, probe.NotReady, one.status())
		require.Equal(t, probe.Running, two.status(), "the other bus is not affected")
		require.False(t, reg.Ready())
		require.ErrorContains(t, reg.Snapshot().Err(), "bus-one")
		require.NotContains(t, reg.Snapshot().Err().Error(), "bus-two")

		two.fake.setPing(answer(errDenied))
		two.fake.report(driver.Refused, errDenied)
		one.fake.setPing(answer(nil))
		one.fake.report(driver.Connected, nil)
		synctest.Wait()
		require.Equal(t, probe.Running, one.status())
		require.Equal(t, probe.Failed, two.status())
		require.False(t, reg.Healthy())

		one.close()
		two.close()
	})
}

func TestTransitionsAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, liveness.WithHistory(1)).start()
		synctest.Wait()
		for range 3 {
			r.fake.report(driver.Connected, nil)
			synctest.Wait()
			r.fake.report(driver.Disconnected, errGone)
			synctest.Wait()
		}
		r.fake.report(driver.Disconnected, errDenied)
		synctest.Wait()
		require.Equal(t, map[probe.Status]uint64{probe.Preparing: 1, probe.Prepared: 1, probe.Running: 3, probe.NotReady: 3}, r.monitor.Transitions(),
			"a new cause is not a transition, and WithHistory does not bound the count")
		r.close()
		require.EqualValues(t, 1, r.monitor.Transitions()[probe.Stopped])
	})
}

func TestOnPingReportsEveryPing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.fake.setPing(answer(nil))
		stuck := make(chan struct{})
		var stuckCalls atomic.Int64
		r.monitor.OnPing(func(liveness.PingResult) { stuckCalls.Add(1); <-stuck })
		var seen []liveness.PingResult
		removed := r.monitor.OnPing(func(liveness.PingResult) { t.Error("the observer was removed") })
		removed()
		r.monitor.OnPing(func(p liveness.PingResult) { seen = append(seen, p) })
		r.start()
		require.Less(t, r.until(probe.Running), liveness.DefaultPingTimeout)
		r.fake.setPing(silent)
		took := r.until(probe.NotReady)
		require.LessOrEqual(t, took, 3*liveness.DefaultPingTimeout, "a stuck observer delays nothing")
		synctest.Wait() // an observer that is busy misses the next ping
		r.fake.setPing(answer(nil))
		r.until(probe.Running)
		synctest.Wait()
		require.EqualValues(t, 1, stuckCalls.Load(), "calls to one observer do not overlap")
		close(stuck)
		r.close()
		require.GreaterOrEqual(t, len(seen), 4)
		require.NoError(t, seen[0].Err)
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(seen[1].Err))
		require.GreaterOrEqual(t, seen[1].Duration, liveness.DefaultPingTimeout)
	})
}
