package probe_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/liveness/probe"
)

func TestWaitReturnsAtOnceIfVersionDiffers(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	snap, err := reg.Wait(t.Context(), 0)
	require.NoError(t, err)
	require.NotZero(t, snap.Version)

	reg.Update("bus", probe.NotReady, nil)
	reg.Update("bus", probe.Running, nil)
	next, err := reg.Wait(t.Context(), snap.Version)
	require.NoError(t, err)
	require.Greater(t, next.Version, snap.Version)
	require.True(t, next.Ready, "the latest state, not the next one")

	other, err := reg.Wait(t.Context(), next.Version+1)
	require.NoError(t, err, "a version that the registry has not reached yet differs, too")
	require.Equal(t, next, other)
}

func TestWaitBlocksUntilAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := probe.New()
		start, version := time.Now(), reg.Snapshot().Version
		var observers sync.WaitGroup
		for range 10 {
			observers.Go(func() {
				snap, err := reg.Wait(t.Context(), version)
				assert.NoError(t, err)
				assert.True(t, snap.Ready)
				assert.Equal(t, time.Hour, time.Since(start))
			})
		}
		time.Sleep(time.Hour)
		reg.Update("bus", probe.Running, nil)
		observers.Wait()
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := statuses(probe.Running)
		version := reg.Snapshot().Version
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errRefused)
		defer cancel()
		start := time.Now()
		snap, err := reg.Wait(ctx, version)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, reg.Snapshot(), snap)

		_, err = reg.Wait(ctx, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded, "an ended context comes before a new state")
	})
}

func TestWatchYieldsTheLatestState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := probe.New()
		reg.Register("bus")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var seen []probe.Status
		var observer sync.WaitGroup
		observer.Go(func() {
			for snap := range reg.Watch(ctx) {
				bus, _ := snap.Service("bus")
				seen = append(seen, bus.Status)
				time.Sleep(10 * time.Second)
			}
		})
		for _, status := range []probe.Status{probe.Preparing, probe.NotReady, probe.Running} {
			time.Sleep(time.Second)
			reg.Update("bus", status, nil) // while the observer is busy
		}
		time.Sleep(time.Minute)
		reg.Update("bus", probe.Failed, nil)
		time.Sleep(time.Minute)
		cancel()
		observer.Wait()
		require.Equal(t, []probe.Status{probe.Unknown, probe.Running, probe.Failed}, seen)
	})
}

func TestWatchLoopCanBeLeft(t *testing.T) {
	t.Parallel()
	for snap := range statuses(probe.Running).Watch(t.Context()) {
		require.True(t, snap.Ready)
		break
	}
}

func TestStuckObserverDoesNotDelayUpdates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := probe.New()
		leave := make(chan struct{})
		var observers sync.WaitGroup
		for range 3 {
			observers.Go(func() {
				for range reg.Watch(t.Context()) {
					<-leave
					return
				}
			})
		}
		synctest.Wait() // all three are stuck
		start := time.Now()
		for i := range 10_000 {
			reg.Update("bus", probe.NotReady, fmt.Errorf("attempt %d", i))
		}
		require.Zero(t, time.Since(start))
		bus, _ := reg.Snapshot().Service("bus")
		require.EqualError(t, bus.Cause, "attempt 9999")
		close(leave)
		observers.Wait()
	})
}

func TestConcurrentUpdates(t *testing.T) {
	t.Parallel()
	const updaters, updates, observers = 4, 500, 4
	reg := probe.New()
	var updating, observing sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	for range observers {
		observing.Go(func() {
			var last probe.Version
			for snap := range reg.Watch(ctx) {
				if snap.Version <= last {
					t.Errorf("version %d after %d", snap.Version, last)
				}
				last = snap.Version
				if snap.Ready != probe.DefaultReady(snap.Services) || snap.Healthy != probe.DefaultHealthy(snap.Services) {
					t.Errorf("version %d: ready %v and healthy %v do not follow from its services %v", snap.Version, snap.Ready, snap.Healthy, snap.Services)
				}
				if len(snap.Services) == updaters && snap.Ready {
					return
				}
			}
			t.Error("the observer did not get the last state")
		})
	}
	for u := range updaters {
		updating.Go(func() {
			name := fmt.Sprintf("s%d", u)
			for i := range updates {
				reg.Update(name, probe.NotReady, fmt.Errorf("attempt %d", i))
				reg.Register("passing")
				reg.Unregister("passing")
			}
		})
	}
	updating.Wait()
	require.GreaterOrEqual(t, reg.Snapshot().Version, probe.Version(updaters*updates), "no update was lost")
	for u := range updaters {
		updating.Go(func() { reg.Update(fmt.Sprintf("s%d", u), probe.Running, nil) })
	}
	updating.Wait()
	observing.Wait()
	require.True(t, reg.Ready())
}

func TestWatchEndsWithItsContextWhileChangesKeepComing(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	ctx, cancel := context.WithCancel(t.Context())
	var seen int
	for range reg.Watch(ctx) {
		seen++
		reg.Update("bus", probe.NotReady, fmt.Errorf("attempt %d", seen))
		if seen == 3 {
			cancel()
		}
		require.LessOrEqual(t, seen, 3)
	}
	cancel()
	require.Equal(t, 3, seen)
}

func TestWaitReadyReturnsWhenEveryServiceIsRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := statuses(probe.NotReady, probe.NotReady)
		start := time.Now()
		time.AfterFunc(1*time.Second, func() { reg.Update("s0", probe.Running, nil) })
		time.AfterFunc(2*time.Second, func() { reg.Update("s1", probe.Failed, nil) })
		time.AfterFunc(3*time.Second, func() { reg.Update("s1", probe.Running, nil) })
		require.NoError(t, reg.WaitReady(t.Context()))
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestWaitReadyOfReadyRegistryIgnoresEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, statuses(probe.Running).WaitReady(ctx))
}

func TestWaitReadyErrorNamesServicesAndCauses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		reg    func() *probe.Registry
		want   string
		public string
		names  []string
	}{
		{
			name:   "no service",
			reg:    func() *probe.Registry { return probe.New() },
			want:   "not ready: no service is registered",
			public: "not ready: no service is registered",
		},
		{
			name: "some of several",
			reg: func() *probe.Registry {
				reg := statuses(probe.Running)
				reg.Update("kv-store", probe.Preparing, nil)
				reg.Update("message-bus", probe.NotReady, errors.Join(errRefused, errors.New("no route")))
				return reg
			},
			want:   "not ready: kv-store is Preparing; message-bus is NotReady: connection refused; no route",
			public: "not ready: kv-store is Preparing; message-bus is NotReady",
			names:  []string{"kv-store", "message-bus"},
		},
		{
			name: "custom rule",
			reg: func() *probe.Registry {
				reg := probe.New(probe.WithReadyRule(func([]probe.Service) bool { return false }))
				reg.Update("bus", probe.Running, nil)
				return reg
			},
			want:   "not ready: every service is Running, but the ready rule of the program is not satisfied",
			public: "not ready: every service is Running, but the ready rule of the program is not satisfied",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := tc.reg().WaitReady(ctx)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.EqualError(t, err, "probe: wait until ready: context deadline exceeded: "+tc.want)
				notReady, ok := errors.AsType[*probe.NotReadyError](err)
				require.True(t, ok)
				require.Equal(t, tc.public, notReady.Public())
				var names []string
				for _, s := range notReady.Services {
					names = append(names, s.Name)
				}
				require.Equal(t, tc.names, names)
			})
		})
	}
}

// A cause of a service must not look like the reason why the wait ended.
func TestWaitReadyErrorDoesNotUnwrapToCauses(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	reg.Update("bus", probe.NotReady, context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := reg.WaitReady(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

func TestContextCarriesRegistry(t *testing.T) {
	t.Parallel()
	probe.UpdateFromContext(t.Context(), "bus", probe.Running, nil) // without a registry it does nothing
	_, ok := probe.FromContext(t.Context())
	require.False(t, ok)
	_, ok = probe.FromContext(probe.NewContext(t.Context(), nil))
	require.False(t, ok)

	reg := probe.New()
	ctx, cancel := context.WithCancel(probe.NewContext(t.Context(), reg))
	carried, ok := probe.FromContext(ctx)
	require.True(t, ok)
	require.Same(t, reg, carried)
	probe.UpdateFromContext(ctx, "bus", probe.Running, nil)
	require.True(t, reg.Ready())
	cancel()
	probe.UpdateFromContext(ctx, "bus", probe.Stopped, errRefused)
	bus, _ := reg.Snapshot().Service("bus")
	require.Equal(t, probe.Stopped, bus.Status)
	require.Equal(t, errRefused, bus.Cause)
}

// readyAtTheEnd is a context whose registry becomes ready when Err is called.
type readyAtTheEnd struct {
	context.Context
	reg *probe.Registry
}

func (c readyAtTheEnd) Err() error {
	c.reg.Update("bus", probe.Running, nil)
	return context.Canceled
}

func TestWaitReadyAcceptsReadinessAtTheLastMoment(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	require.NoError(t, reg.WaitReady(readyAtTheEnd{t.Context(), reg}))
	require.True(t, reg.Ready())
}
