package liveness_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
)

func TestAttachRunsTheMonitorUntilItIsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b, err := bus.New(newFake())
		require.NoError(t, err)
		reg := probe.New()
		monitor, err := liveness.Attach(b, reg)
		require.NoError(t, err)
		synctest.Wait()
		require.True(t, reg.Ready())
		require.Equal(t, bus.CodeAlreadyExists, bus.CodeOf(monitor.Run(t.Context())))

		require.NoError(t, monitor.Close())
		<-monitor.Done()
		require.False(t, reg.Healthy())
		require.Equal(t, bus.CodeClosed, bus.CodeOf(monitor.Run(t.Context())))

		again, err := liveness.Attach(b, reg)
		require.NoError(t, err, "a bus may have another monitor")
		synctest.Wait()
		require.True(t, reg.Ready())
		require.NoError(t, again.Close())
		require.NoError(t, b.Close())
	})
}

func TestMonitorsOfOneBusAreIndependent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		transport := newFake()
		b, err := bus.New(transport)
		require.NoError(t, err)
		one, two := probe.New(), probe.New()
		first, err := liveness.Attach(b, one)
		require.NoError(t, err)
		second, err := liveness.Attach(b, two)
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, first.Close())
		transport.setPing(silent)
		transport.report(driver.Disconnected, errGone)
		synctest.Wait()
		require.False(t, two.Ready())
		require.NoError(t, second.Close())
		require.NoError(t, b.Close())
	})
}

func TestAttachObservesWhatTheBusIsAlready(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		transport := newFake()
		b, err := bus.New(transport)
		require.NoError(t, err)
		handler := func(context.Context, *bus.Delivery) error { return nil }
		assigned, err := b.Consume(t.Context(), "orders", handler)
		require.NoError(t, err)
		orders := <-transport.sessions
		orders.events <- driver.Event{Assigned: true}
		failing, err := b.Consume(t.Context(), "bills", handler)
		require.NoError(t, err)
		bills := <-transport.sessions
		bills.events <- driver.Event{Cause: errGone}
		_, err = b.Consume(t.Context(), "new", handler)
		require.NoError(t, err)
		<-transport.sessions
		synctest.Wait()
		transport.report(driver.Connected, nil)
		transport.setPing(silent)

		reg := probe.New()
		monitor, err := liveness.Attach(b, reg)
		require.NoError(t, err)
		synctest.Wait()
		require.True(t, monitor.State().Live, "the connection is known")
		require.False(t, reg.Ready(), "one has no assignment")
		require.ErrorContains(t, monitor.State().Cause, `"bills"`)
		require.ElementsMatch(t, []*bus.Subscription{assigned, failing}, monitor.Subscriptions())
		bills.events <- driver.Event{Assigned: true}
		synctest.Wait()
		require.True(t, reg.Ready())
		require.NoError(t, monitor.Close())
		require.NoError(t, b.Close())
	})
}

func TestIgnoredSubscriptionsDoNotCount(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, liveness.WithGrace(0)).start()
		defer r.close()
		r.until(probe.Running)
		sub, session := r.consume(t.Context())
		session.events <- driver.Event{Cause: errGone}
		r.until(probe.NotReady)
		r.monitor.Ignore(sub)
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
		require.Equal(t, []*bus.Subscription{sub}, r.monitor.Subscriptions(), "it is still shown")
		session.failed <- &bus.Error{Code: bus.CodeNotFound, Op: "consume"}
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
		require.Empty(t, r.monitor.Subscriptions())

		early, session := r.consume(t.Context())
		r.monitor.Ignore(early) // before any event of it
		session.events <- driver.Event{Cause: errGone}
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
		r.monitor.Require(early)
		synctest.Wait()
		require.Equal(t, probe.NotReady, r.status())
		require.NoError(t, early.Close())
		r.monitor.Ignore(early)
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
	})
}

func TestWithRequiredOnlyCountsOnlyRequiredSubscriptions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, liveness.WithRequiredOnly(), liveness.WithGrace(0)).start()
		defer r.close()
		sub, session := r.consume(t.Context())
		session.events <- driver.Event{Cause: errGone}
		time.Sleep(time.Minute)
		require.Equal(t, probe.Running, r.status())
		r.monitor.Require(sub)
		synctest.Wait()
		require.Equal(t, probe.NotReady, r.status())
		r.monitor.Ignore(sub)
		session.failed <- &bus.Error{Code: bus.CodeNotFound, Op: "consume"}
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
	})
}
