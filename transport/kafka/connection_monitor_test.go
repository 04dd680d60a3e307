package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

// A probe that times out on a slow machine must not count as an outage while other
// connections receive data.
func TestProbeTimeoutCountsOnlyWithoutOtherTraffic(t *testing.T) {
	t.Parallel()
	rejected := errors.New("rejected")
	for name, c := range map[string]struct {
		err  error // of the probe; nil means that it waits for its context
		read bool  // another connection receives data during the probe
		want error
	}{
		"time-out without traffic": {want: context.DeadlineExceeded},
		"time-out with traffic":    {read: true},
		"error with traffic":       {err: rejected, read: true, want: rejected},
	} {
		traffic := &traffic{}
		m := newConnectionMonitor(defaults(), traffic)
		m.probe = func(ctx context.Context) error {
			if c.read {
				traffic.read.Add(1)
			}
			if c.err != nil {
				return c.err
			}
			<-ctx.Done()
			return ctx.Err()
		}
		require.ErrorIs(t, m.check(t.Context(), 10*time.Millisecond), c.want, name)
	}
}

func TestObserverSeesEachChangeOnce(t *testing.T) {
	t.Parallel()
	m := newConnectionMonitor(defaults(), &traffic{})
	var states []driver.ConnectionState
	m.setObserver(func(c driver.Connection) { states = append(states, c.State) })
	cause := errors.New("cause")
	m.set(driver.Disconnected, cause)
	m.set(driver.Disconnected, cause)
	m.set(driver.Connected, nil)
	m.set(driver.Connected, nil)
	m.stopObserver()
	m.set(driver.Disconnected, cause)
	require.Equal(t, []driver.ConnectionState{driver.Connecting, driver.Disconnected, driver.Connected}, states)
}
