package probe_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/liveness/probe"
)

var errRefused = errors.New("connection refused")

// statuses makes a registry with services s0, s1, ... in these statuses.
func statuses(statuses ...probe.Status) *probe.Registry {
	reg := probe.New()
	for i, status := range statuses {
		reg.Update(fmt.Sprintf("s%d", i), status, nil)
	}
	return reg
}

func TestDefaultRules(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		statuses       []probe.Status
		ready, healthy bool
	}{
		{"no service", nil, false, true},
		{"all running", []probe.Status{probe.Running, probe.Running}, true, true},
		{"one unknown", []probe.Status{probe.Running, probe.Unknown}, false, true},
		{"one preparing", []probe.Status{probe.Preparing, probe.Running}, false, true},
		{"one prepared", []probe.Status{probe.Prepared, probe.Running}, false, true},
		{"one not ready", []probe.Status{probe.NotReady, probe.Running}, false, true},
		{"one stopped", []probe.Status{probe.Running, probe.Stopped}, false, false},
		{"one failed", []probe.Status{probe.Failed, probe.Running}, false, false},
		{"one undefined", []probe.Status{probe.Running, 99}, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			reg := statuses(tc.statuses...)
			require.Equal(t, tc.ready, reg.Ready())
			require.Equal(t, tc.healthy, reg.Healthy())
			snap := reg.Snapshot()
			require.Equal(t, tc.ready, snap.Ready)
			require.Equal(t, tc.healthy, snap.Healthy)
			require.Equal(t, tc.ready, snap.Err() == nil)
		})
	}
}

func TestRulesCanBeReplaced(t *testing.T) {
	t.Parallel()
	busOnly := func(services []probe.Service) bool {
		for _, s := range services {
			if s.Name == "bus" {
				return s.Status == probe.Running
			}
		}
		return false
	}
	reg := probe.New(probe.WithReadyRule(busOnly), probe.WithHealthyRule(busOnly))
	reg.Update("store", probe.Failed, nil)
	require.False(t, reg.Ready())
	require.False(t, reg.Healthy())
	reg.Update("bus", probe.Running, nil)
	require.True(t, reg.Ready())
	require.True(t, reg.Healthy())
	require.NoError(t, reg.WaitReady(t.Context()))

	reg = probe.New(probe.WithReadyRule(nil), probe.WithHealthyRule(nil))
	reg.Update("bus", probe.Running, nil)
	require.True(t, reg.Ready(), "nil stands for the default")
	require.True(t, reg.Healthy())
}

func TestRuleCannotChangeTheRegistryThroughItsArgument(t *testing.T) {
	t.Parallel()
	overwrite := func(services []probe.Service) bool {
		for i := range services {
			services[i] = probe.Service{Name: "overwritten", Status: probe.Failed}
		}
		return true
	}
	reg := probe.New(probe.WithReadyRule(overwrite), probe.WithHealthyRule(overwrite))
	reg.Update("bus", probe.Running, nil)
	bus, found := reg.Snapshot().Service("bus")
	require.True(t, found)
	require.Equal(t, probe.Running, bus.Status)
}

func TestRuleThatPanicsChangesNothing(t *testing.T) {
	t.Parallel()
	reg := probe.New(probe.WithReadyRule(func(services []probe.Service) bool {
		if len(services) > 1 {
			panic("too many")
		}
		return true
	}))
	reg.Update("a", probe.Running, nil)
	before := reg.Snapshot()
	require.PanicsWithValue(t, "too many", func() { reg.Update("b", probe.Running, nil) })
	require.Equal(t, before, reg.Snapshot())
	reg.Update("a", probe.Failed, nil)
	require.False(t, reg.Healthy(), "the registry still works")
}

func TestRegisterAndUnregister(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	reg.Update("bus", probe.Running, nil)
	reg.Register("store")
	require.False(t, reg.Ready(), "a service without a report is not ready")
	store, found := reg.Snapshot().Service("store")
	require.True(t, found)
	require.Equal(t, probe.Unknown, store.Status)

	version := reg.Snapshot().Version
	reg.Register("bus")
	require.Equal(t, version, reg.Snapshot().Version)
	bus, _ := reg.Snapshot().Service("bus")
	require.Equal(t, probe.Running, bus.Status, "registering again keeps the status")

	reg.Unregister("store")
	require.True(t, reg.Ready())
	version = reg.Snapshot().Version
	reg.Unregister("store")
	require.Equal(t, version, reg.Snapshot().Version)

	reg.Update("", probe.Running, nil)
	_, found = reg.Snapshot().Service("unnamed")
	require.True(t, found)
	reg.Unregister("")
	require.Len(t, reg.Snapshot().Services, 1)
}

func TestSnapshotIsACopy(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	for _, name := range []string{"c", "a", "b"} {
		reg.Update(name, probe.Running, nil)
	}
	snap := reg.Snapshot()
	require.Equal(t, []string{"a", "b", "c"}, []string{snap.Services[0].Name, snap.Services[1].Name, snap.Services[2].Name})

	snap.Services[0].Status = probe.Failed
	reg.Update("b", probe.NotReady, errRefused)
	a, _ := reg.Snapshot().Service("a")
	require.Equal(t, probe.Running, a.Status)
	b, _ := snap.Service("b")
	require.Equal(t, probe.Running, b.Status)
	_, found := snap.Service("d")
	require.False(t, found)
}

func TestSinceIsWhenTheStatusChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := probe.New()
		since := func() time.Time {
			service, _ := reg.Snapshot().Service("bus")
			return service.Since
		}
		start := time.Now()
		reg.Register("bus")
		require.Equal(t, start, since())

		time.Sleep(time.Minute)
		reg.Update("bus", probe.NotReady, errRefused)
		require.Equal(t, start.Add(time.Minute), since())

		time.Sleep(time.Minute)
		reg.Update("bus", probe.NotReady, errors.New("no route"))
		require.Equal(t, start.Add(time.Minute), since(), "a new cause does not change Since")
		service, _ := reg.Snapshot().Service("bus")
		require.EqualError(t, service.Cause, "no route")

		reg.Update("bus", probe.Running, nil)
		require.Equal(t, start.Add(2*time.Minute), since())

		reg.Unregister("bus")
		reg.Update("bus", probe.Unknown, nil)
		require.Equal(t, start.Add(2*time.Minute), since(), "Update registers the service")
	})
}

// list is an error that == panics on.
type list []string

func (l list) Error() string { return fmt.Sprint([]string(l)) }

func TestUpdateChangesStateOnlyIfStatusOrCauseTextDiffers(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	version := func() probe.Version { return reg.Snapshot().Version }

	reg.Update("bus", probe.Unknown, nil)
	last := version()
	for _, tc := range []struct {
		what    string
		status  probe.Status
		cause   error
		changes bool
	}{
		{"another status", probe.NotReady, nil, true},
		{"the same", probe.NotReady, nil, false},
		{"a cause", probe.NotReady, errRefused, true},
		{"the same cause", probe.NotReady, errRefused, false},
		{"an equal cause", probe.NotReady, errors.New("connection refused"), false},
		{"another cause", probe.NotReady, list{"a", "b"}, true},
		{"an equal cause that cannot be compared", probe.NotReady, list{"a", "b"}, false},
		{"no cause", probe.NotReady, nil, true},
	} {
		reg.Update("bus", tc.status, tc.cause)
		require.Equal(t, tc.changes, version() != last, tc.what)
		last = version()
	}
}

func TestUpdateWithoutChangeDoesNotAllocate(t *testing.T) {
	// Not parallel, because AllocsPerRun counts the allocations of all goroutines.
	reg := statuses(probe.Running, probe.Running)
	require.Zero(t, testing.AllocsPerRun(100, func() { reg.Update("s1", probe.Running, nil) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = reg.Ready() && reg.Healthy() }))
}

func BenchmarkUpdateWithoutChange(b *testing.B) {
	reg := statuses(probe.Running, probe.Running)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			reg.Update("s1", probe.Running, nil)
		}
	})
}

func BenchmarkReady(b *testing.B) {
	reg := statuses(probe.Running, probe.Running)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = reg.Ready()
		}
	})
}
