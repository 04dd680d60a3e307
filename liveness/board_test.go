package liveness_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
)

func TestStuckObserversDelayNothing(t *testing.T) {
	t.Parallel()
	for _, started := range []bool{true, false} {
		r := newRig(t)
		t.Cleanup(r.close)
		if started {
			r.start()
		}
		release := make(chan struct{})
		var observers sync.WaitGroup
		for range 10 {
			observers.Go(func() {
				for range r.monitor.Watch(t.Context()) {
					<-release
					break
				}
			})
			observers.Go(func() {
				for range r.reg.Watch(t.Context()) {
					<-release
					break
				}
			})
		}
		for i := range 10_000 {
			r.fake.setPublish(nil)
			if i%3 == 0 {
				r.fake.setPublish(errGone)
				r.fake.report(driver.Disconnected, errGone)
				r.fake.report(driver.Connected, nil)
			}
			_ = r.bus.Publish("orders", message.NewMessage("", nil)) // the outcome does not matter
		}
		close(release)
		observers.Wait()
	}
}

func TestWaitReturnsTheLatestState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.until(probe.Running)
		seen := r.monitor.State()
		for range 5 {
			r.fake.report(driver.Disconnected, errGone)
			r.until(probe.NotReady)
			r.fake.report(driver.Connected, nil)
			r.until(probe.Running)
		}
		s, err := r.monitor.Wait(t.Context(), seen.Version)
		require.NoError(t, err)
		require.Equal(t, seen.Version+10, s.Version)
		require.Equal(t, probe.Running, s.Status)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		again, err := r.monitor.Wait(ctx, s.Version)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, s.Version, again.Version)
		for range r.monitor.Watch(ctx) {
			t.Fatal("the context has ended")
		}
	})
}

func TestAllObserversGetALoss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.until(probe.Running)
		var observers sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		saw := make([]bool, 100)
		for i := range saw {
			observers.Go(func() {
				for s := range r.monitor.Watch(ctx) {
					if s.Status == probe.NotReady {
						saw[i] = errors.Is(s.Cause, errGone) && !s.Live
						return
					}
				}
			})
		}
		synctest.Wait()
		r.fake.report(driver.Disconnected, errGone)
		observers.Wait()
		require.NotContains(t, saw, false)
	})
}

func TestHistoryIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, liveness.WithHistory(3)).start()
		defer r.close()
		r.until(probe.Running)
		for range 10 {
			time.Sleep(time.Second)
			r.fake.setPing(silent)
			r.fake.report(driver.Disconnected, errGone)
			r.until(probe.NotReady)
			time.Sleep(time.Second)
			r.fake.setPing(answer(nil))
			r.fake.report(driver.Connected, nil)
			r.until(probe.Running)
		}
		h := r.monitor.History()
		require.Equal(t, []probe.Status{probe.Running, probe.NotReady, probe.Running}, statuses(h))
		require.Equal(t, r.monitor.State().Version, h[2].Version)
		require.Equal(t, errGone, h[1].Cause)
		require.Equal(t, time.Second, h[2].Since.Sub(h[1].Since))
		h[0].Cause = errGone
		require.NoError(t, r.monitor.History()[0].Cause, "History returns a copy")
	})
}

func TestNewCauseIsANewVersionWithTheSameSince(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t).start()
		defer r.close()
		r.fake.setPing(silent)
		r.until(probe.NotReady)
		silence := r.monitor.State()
		time.Sleep(time.Minute)
		require.Equal(t, silence, r.monitor.State(), "the same cause is not a change")
		r.fake.report(driver.Disconnected, errGone)
		s, err := r.monitor.Wait(t.Context(), silence.Version)
		require.NoError(t, err)
		require.Equal(t, probe.NotReady, s.Status)
		require.Equal(t, errGone, s.Cause)
		require.Equal(t, silence.Since, s.Since)
		synctest.Wait()
		require.Equal(t, probe.NotReady, r.status())
	})
}

func TestDetailzShowsTheMonitor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, liveness.WithServiceName("kafka-east")).start()
		defer r.close()
		r.fake.report(driver.Connected, nil)
		r.until(probe.Running)
		answer := httptest.NewRecorder()
		probe.Handler(r.reg).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/detailz", nil))
		var page map[string]struct {
			Status  string
			Details map[string]any
		}
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &page))
		s := page["kafka-east"]
		require.Equal(t, "Running", s.Status)
		require.Equal(t, true, s.Details["live"])
		require.Equal(t, "fake", s.Details["transport"])
		require.Equal(t, "connected", s.Details["connection"])
		require.Equal(t, time.Now().UTC().Format(time.RFC3339Nano), s.Details["last_success"])
	})
}

func TestInvalidArgumentsAreRejected(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	t.Cleanup(r.close)
	for name, try := range map[string]func() error{
		"no bus":      func() error { _, err := liveness.Attach(nil, r.reg); return err },
		"no registry": func() error { _, err := liveness.Attach(r.bus, nil); return err },
		"nil option":  func() error { _, err := liveness.Attach(r.bus, r.reg, nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			err := try()
			require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%v", err)
		})
	}
	for name, o := range map[string]liveness.Option{
		"name":      liveness.WithServiceName(""),
		"logger":    liveness.WithLogger(nil),
		"live":      liveness.WithLiveInterval(0),
		"not live":  liveness.WithNotLiveInterval(-1),
		"time-out":  liveness.WithPingTimeout(0),
		"grace":     liveness.WithGrace(-1),
		"ping":      liveness.WithPing(nil),
		"topic":     liveness.WithPingTopic(""),
		"no states": liveness.WithHistory(0),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := liveness.Attach(r.bus, r.reg, o)
			require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%v", err)
		})
	}
}
