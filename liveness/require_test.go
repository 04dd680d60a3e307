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

func (r *rig) consume(ctx context.Context) (*bus.Subscription, *fakeSession) {
	sub, err := r.bus.Consume(ctx, "orders", func(context.Context, *bus.Delivery) error { return nil })
	require.NoError(r.t, err)
	return sub, <-r.fake.sessions
}

func TestRequiredSubscriptionDecidesReadiness(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		sub, session := r.consume(t.Context())
		r.monitor.Require(sub)
		r.start()
		defer r.close()
		synctest.Wait()
		require.Equal(t, probe.Prepared, r.status())
		require.True(t, r.monitor.State().Live)
		require.ErrorContains(t, r.monitor.State().Cause, `"orders"`)

		session.events <- driver.Event{Assigned: true}
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())

		time.Sleep(time.Millisecond)
		session.events <- driver.Event{Cause: &bus.Error{Code: bus.CodeRevoked, Reason: "rebalance"}}
		require.Equal(t, liveness.DefaultGrace, r.until(probe.NotReady))
		require.ErrorContains(t, r.monitor.State().Cause, "rebalance")
		require.True(t, r.monitor.State().Live)
		require.True(t, r.monitor.State().Status.Healthy())

		session.events <- driver.Event{Assigned: true}
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())

		require.NoError(t, sub.Shutdown(t.Context()))
		synctest.Wait()
		require.Equal(t, probe.NotReady, r.status(), "a required subscription has ended")
		r.monitor.Ignore(sub)
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
	})
}

func TestRequiredSubscriptionThatEndsWithAnErrorFailsTheService(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		sub, session := r.consume(t.Context())
		r.monitor.Require(sub)
		session.events <- driver.Event{Assigned: true}
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
		session.failed <- &bus.Error{Code: bus.CodeNotFound, Op: "subscribe", Reason: "the topic was deleted"}
		synctest.Wait()
		require.Equal(t, probe.Failed, r.status())
		require.True(t, r.monitor.State().Live)
		require.ErrorContains(t, r.monitor.State().Cause, "the topic was deleted")
		r.monitor.Ignore(sub)
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
	})
}

func TestFailedSubscriptionIsReplacedOnlyByItsOwnTopicAndGroup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		consume := func(topic, group string) *fakeSession {
			_, err := r.bus.Consume(t.Context(), topic, func(context.Context, *bus.Delivery) error { return nil }, bus.Group(group))
			require.NoError(t, err)
			session := <-r.fake.sessions
			session.events <- driver.Event{Assigned: true}
			synctest.Wait()
			return session
		}
		consume("orders", "billing").failed <- &bus.Error{Code: bus.CodeNotFound, Op: "consume"}
		r.until(probe.Failed)
		consume("orders", "shipping")
		require.Equal(t, probe.Failed, r.status(), "another group")
		consume("bills", "billing")
		require.Equal(t, probe.Failed, r.status(), "another topic")
		consume("orders", "billing")
		require.Equal(t, probe.Running, r.status())
	})
}

func TestSubscriptionThatEndsCausesNoPing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.until(probe.Running)
		_, session := r.consume(t.Context())
		time.Sleep(300 * time.Millisecond)
		before := r.fake.pinged()
		session.failed <- errGone
		r.until(probe.Failed)
		require.Equal(t, before, r.fake.pinged())
	})
}

func TestRequireOfAnEndedSubscription(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, liveness.WithRequiredOnly()).start()
		defer r.close()
		sub, session := r.consume(t.Context())
		session.failed <- &bus.Error{Code: bus.CodeNotFound, Op: "subscribe"}
		<-sub.Done()
		synctest.Wait()
		require.Equal(t, probe.Running, r.status(), "it was not required")
		r.monitor.Require(sub)
		synctest.Wait()
		require.Equal(t, probe.Failed, r.status())
		r.monitor.Ignore(sub, sub)
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
	})
}

func TestEverySubscriptionIsRequiredFromItsFirstAssignment(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, liveness.WithGrace(0)).start()
		defer r.close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, session := r.consume(ctx)
		synctest.Wait()
		require.Equal(t, probe.Running, r.status(), "it was never assigned")
		session.events <- driver.Event{Assigned: true}
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
		session.events <- driver.Event{Cause: errGone}
		synctest.Wait()
		require.Equal(t, probe.NotReady, r.status())
		cancel()
		synctest.Wait()
		require.Equal(t, probe.Running, r.status(), "its context ended")

		_, session = r.consume(t.Context())
		session.events <- driver.Event{Assigned: true}
		session.failed <- &bus.Error{Code: bus.CodeUndecodable, Op: "consume"}
		synctest.Wait()
		require.Equal(t, probe.Failed, r.status())
		_, session = r.consume(t.Context())
		session.events <- driver.Event{Assigned: true}
		synctest.Wait()
		require.Equal(t, probe.Running, r.status(), "another one replaced it")
		time.Sleep(time.Minute)
		require.Equal(t, probe.Running, r.status())
	})
}
