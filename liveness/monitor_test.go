package liveness_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
)

// inBubble runs a test with synctest.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, test)
}

func TestMonitorStatusFollowsItsLifeCycle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		require.Equal(t, probe.Preparing, r.status())
		r.fake.setPing(silent)
		r.start()
		synctest.Wait()
		require.Equal(t, probe.Prepared, r.status())
		require.True(t, r.monitor.State().Status.Healthy())

		r.fake.report(driver.Connected, nil)
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
		require.True(t, r.reg.Ready())

		require.NoError(t, r.monitor.Shutdown(t.Context()))
		require.Equal(t, probe.Stopped, r.status())
		s := r.monitor.State()
		require.False(t, s.Live || s.Status.Ready() || s.Status.Healthy())
		<-r.monitor.Done()
		require.Equal(t, []probe.Status{probe.Preparing, probe.Prepared, probe.Running, probe.Stopped}, statuses(r.monitor.History()))
		r.close() // closes it again
	})
}

func TestLossIsDetectedInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		opts  []liveness.Option
		lose  func(*fake)
		want  time.Duration // after the last sign of life
		cause string
	}{
		{"every connection lost", nil, func(f *fake) { f.report(driver.Disconnected, errGone) }, 0, "connection refused"},
		{"open and silent", nil, func(f *fake) { f.setPing(silent) }, 1500 * time.Millisecond, "no answer within 500ms"},
		{"connections refused", nil, func(f *fake) { f.setPing(answer(errGone)) }, 750 * time.Millisecond, "connection refused"},
		{"silent, other intervals", []liveness.Option{
			liveness.WithLiveInterval(2 * time.Second), liveness.WithNotLiveInterval(time.Second), liveness.WithPingTimeout(100 * time.Millisecond),
		}, func(f *fake) { f.setPing(silent) }, 3100 * time.Millisecond, "no answer within 100ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, c.opts...).start()
				defer r.close()
				r.until(probe.Running) // a ping has just succeeded
				c.lose(r.fake)
				require.Equal(t, c.want, r.until(probe.NotReady))
				s := r.monitor.State()
				require.False(t, s.Live || s.Status.Ready())
				require.True(t, s.Status.Healthy())
				require.ErrorContains(t, s.Cause, c.cause)
				require.Equal(t, time.Now(), s.Since)
				require.False(t, r.reg.Ready())
				require.True(t, r.reg.Healthy(), "a lost broker must not restart the process")
			})
		})
	}
}

func TestFailedPublishCausesAPing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.until(probe.Running)
		time.Sleep(100 * time.Millisecond)
		r.fake.setPing(answer(errGone))
		r.fake.setPublish(&bus.Error{Code: bus.CodeOutcomeUnknown, Op: "publish"})
		require.Error(t, r.send())
		// The first ping begins 250 ms after the one at the start, the second one 250 ms later.
		require.Equal(t, 400*time.Millisecond, r.until(probe.NotReady))
	})
}

func TestErrorsThatSayNothingAboutTheBrokerCauseNoPing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.until(probe.Running)
		for _, code := range []bus.Code{bus.CodeTooLarge, bus.CodeNotFound, bus.CodeInvalidArgument, bus.CodePermissionDenied, bus.CodeCanceled, bus.CodeInternal} {
			before := r.fake.pinged()
			r.fake.setPublish(&bus.Error{Code: code, Op: "publish"})
			require.Error(t, r.send())
			synctest.Wait()
			require.Equal(t, before, r.fake.pinged(), code)
			require.Equal(t, probe.Running, r.status())
		}
	})
}

func TestBusIsLiveAgainInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(*fake)
		back func(*rig)
		most time.Duration
	}{
		{"connected", func(f *fake) { f.report(driver.Disconnected, errGone) }, func(r *rig) { r.fake.report(driver.Connected, nil) }, 0},
		{"an acknowledgement, after silence", func(f *fake) {}, func(r *rig) { require.NoError(r.t, r.send()) }, 0},
		{"a ping", func(f *fake) { f.report(driver.Disconnected, errGone) }, func(r *rig) { r.fake.setPing(answer(nil)) }, 750 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t).start()
				defer r.close()
				r.until(probe.Running)
				r.fake.setPing(silent)
				c.lose(r.fake)
				r.until(probe.NotReady)
				time.Sleep(10 * time.Second)
				require.Equal(t, probe.NotReady, r.status())
				c.back(r)
				require.LessOrEqual(t, r.until(probe.Running), c.most)
				require.NoError(t, r.monitor.State().Cause)
			})
		})
	}
}

func TestOutcomesFromBeforeTheLossProveNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.until(probe.Running)
		r.fake.setPing(silent)
		time.Sleep(100 * time.Millisecond)
		r.fake.report(driver.Disconnected, errGone)
		r.until(probe.NotReady)
		time.Sleep(10 * time.Millisecond)

		h := liveness.HookOf(r.monitor)
		h.OnPublish(hook.PublishEvent{Duration: 50 * time.Millisecond}) // it began before the loss
		h.OnDelivery(hook.DeliveryEvent{Record: &bus.Record{Timestamp: time.Now().Add(-time.Minute)}})
		h.OnDelivery(hook.DeliveryEvent{Record: &bus.Record{}}) // without a timestamp
		h.OnCommit(hook.CommitEvent{})
		synctest.Wait()
		require.Equal(t, probe.NotReady, r.status())

		h.OnDelivery(hook.DeliveryEvent{Record: &bus.Record{Timestamp: time.Now()}, Err: errors.New("of the handler")})
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
	})
}

// A backlog in buffers of this process must not hide that the broker is lost.
func TestDeliveriesFromABacklogProveNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.until(probe.Running)
		r.fake.setPing(silent)
		published := time.Now()
		for range 14 {
			time.Sleep(100 * time.Millisecond)
			liveness.HookOf(r.monitor).OnDelivery(hook.DeliveryEvent{Record: &bus.Record{Timestamp: published}})
		}
		require.Equal(t, 100*time.Millisecond, r.until(probe.NotReady))
	})
}

// The clock of a publisher may be ahead of the clock of this process.
func TestDeliveryFromTheFutureProvesNoMoreThanNow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.until(probe.Running)
		liveness.HookOf(r.monitor).OnDelivery(hook.DeliveryEvent{Record: &bus.Record{Timestamp: time.Now().Add(time.Hour)}})
		r.fake.setPing(silent)
		require.Equal(t, 1500*time.Millisecond, r.until(probe.NotReady))
	})
}

func TestClosedMonitorObservesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		r.until(probe.Running)
		require.NoError(t, r.monitor.Close())
		last := r.monitor.State().LastSuccess
		time.Sleep(time.Second)
		require.NoError(t, r.send())
		require.Equal(t, last, r.monitor.State().LastSuccess)
		r.close()
	})
}

func TestSlowAnswersDoNotFlap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ping func(n int) func(context.Context) error
	}{
		{"slow answers", func(int) func(context.Context) error {
			return func(context.Context) error { time.Sleep(490 * time.Millisecond); return nil }
		}},
		{"every other ping missed", func(n int) func(context.Context) error {
			if n%2 == 1 {
				return silent
			}
			return answer(nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				var n atomic.Int64
				r.fake.setPing(func(ctx context.Context) error { return c.ping(int(n.Add(1) - 1))(ctx) })
				r.start()
				defer r.close()
				time.Sleep(10 * time.Minute)
				require.Equal(t, []probe.Status{probe.Preparing, probe.Prepared, probe.Running}, statuses(r.monitor.History()))
				require.Greater(t, n.Load(), int64(500))
			})
		})
	}
}

func TestMonitorDoesNotPingDuringTraffic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.until(probe.Running)
		r.fake.setPing(silent) // a ping would be missed
		before := r.fake.pinged()
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			require.NoError(t, r.send())
		}
		require.Equal(t, before, r.fake.pinged())
		require.Equal(t, probe.Running, r.status())
		require.Equal(t, time.Now(), r.monitor.State().LastSuccess)
	})
}

func TestRejectedCredentialsFailTheService(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		refuse func(*rig)
	}{
		{"rejected by the connection", func(r *rig) { r.fake.report(driver.Refused, errDenied) }},
		{"rejected by a publish", func(r *rig) { r.fake.setPublish(errDenied); require.Error(r.t, r.send()) }},
		{"rejected by a ping", func(r *rig) { time.Sleep(time.Second) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t).start()
				defer r.close()
				r.until(probe.Running)
				time.Sleep(time.Millisecond)
				r.fake.setPing(answer(errDenied))
				c.refuse(r)
				r.until(probe.Failed)
				require.False(t, r.monitor.State().Status.Healthy())
				require.ErrorIs(t, r.monitor.State().Cause, errDenied)
				before := r.fake.pinged()
				time.Sleep(time.Minute)
				require.LessOrEqual(t, r.fake.pinged()-before, 12, "rejected credentials must be tried slowly")
				require.Equal(t, probe.Failed, r.status())
				r.fake.setPing(answer(nil))
				r.until(probe.Running)
			})
		})
	}
}

func TestBusWithoutPingIsPresumedLive(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.fake.setPing(answer(errUnsupported))
		r.start()
		defer r.close()
		synctest.Wait()
		require.Equal(t, probe.Running, r.status(), "presumed")
		time.Sleep(time.Minute)
		r.fake.setPublish(&bus.Error{Code: bus.CodeUnknown, Op: "publish", Reason: "broken pipe"})
		require.Error(t, r.send())
		require.Error(t, r.send())
		synctest.Wait()
		require.Equal(t, probe.Running, r.status(), "losses in quick succession count as one")
		time.Sleep(300 * time.Millisecond)
		require.Error(t, r.send())
		synctest.Wait()
		require.Equal(t, probe.NotReady, r.status())
		time.Sleep(time.Millisecond)
		r.fake.setPublish(nil)
		require.NoError(t, r.send())
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
		require.NotContains(t, r.fake.published(), "liveness")
	})
}

func TestPingTopicReplacesAnUnsupportedPing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, liveness.WithPingTopic("liveness"))
		r.fake.setPing(answer(errUnsupported))
		r.start()
		defer r.close()
		synctest.Wait()
		require.Equal(t, probe.Running, r.status())
		require.Equal(t, []string{"liveness"}, r.fake.published())
		r.fake.setPublish(&bus.Error{Code: bus.CodeNotFound, Op: "publish", Reason: "no such topic"})
		r.until(probe.NotReady)
		require.ErrorContains(t, r.monitor.State().Cause, "no such topic")
		r.fake.setPublish(nil)
		require.LessOrEqual(t, r.until(probe.Running), 250*time.Millisecond)
	})
}

func TestPingTopicIsNotUsedWherePingWorks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, liveness.WithPingTopic("liveness")).start()
		defer r.close()
		time.Sleep(time.Minute)
		require.Empty(t, r.fake.published())
	})
}

func TestCustomPingThatPanicsCountsAsMissed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var calls atomic.Int64
		r := newRig(t, liveness.WithPing(func(context.Context) error {
			if calls.Add(1) > 1 {
				panic("oops")
			}
			return nil
		})).start()
		defer r.close()
		r.until(probe.Running)
		require.Zero(t, r.fake.pinged())
		r.until(probe.NotReady)
		require.ErrorContains(t, r.monitor.State().Cause, "the ping function panicked: oops")
	})
}

func TestShutdownIsBoundedWhenAPingIgnoresItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var running atomic.Int64
		r := newRig(t, liveness.WithPing(func(context.Context) error {
			running.Add(1)
			<-release
			return nil
		})).start()
		r.until(probe.NotReady)
		require.ErrorContains(t, r.monitor.State().Cause, "the ping function did not return")
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, running.Load(), "one ping at a time")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.monitor.Shutdown(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, probe.Stopped, r.status())
		close(release)
		r.close()
	})
}

func TestMonitorEndsWithItsBus(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		ended := make(chan error, 1)
		go func() { ended <- r.monitor.Run(t.Context()) }()
		r.until(probe.Running)
		require.NoError(t, r.bus.Close())
		require.LessOrEqual(t, r.until(probe.Stopped), 500*time.Millisecond)
		require.NoError(t, <-ended)
	})
}

func TestMonitorRunEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.fake.setPing(silent)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.monitor.Run(ctx) }()
		synctest.Wait()
		require.Equal(t, probe.Prepared, r.status())
		cancel()
		require.NoError(t, <-ended)
		require.Equal(t, probe.Stopped, r.status())
		r.close()
	})
}

func TestMonitorRunsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		synctest.Wait()
		require.Equal(t, bus.CodeAlreadyExists, bus.CodeOf(r.monitor.Run(t.Context())))
		r.close()
		r.close()
		require.Equal(t, bus.CodeClosed, bus.CodeOf(r.monitor.Run(t.Context())))

		r = newRig(t)
		r.close()
		require.Equal(t, probe.Stopped, r.status())
		require.Equal(t, bus.CodeClosed, bus.CodeOf(r.monitor.Run(t.Context())))
		r.close()
	})
}
