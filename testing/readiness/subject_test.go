package readiness_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/transport/kafka"
)

// subject is a bus whose readiness is measured.
type subject struct {
	t       *testing.T
	name    string
	dialer  *kafkatest.Dialer
	bus     *bus.Bus
	monitor *liveness.Monitor

	working context.CancelFunc
	work    sync.WaitGroup
}

// newSubject makes a bus with the default options, except for a dialer that the test can
// cut and a long history. Stuck observers are attached to it.
func newSubject(t *testing.T, reg *probe.Registry, name string, addrs []string) *subject {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &subject{t: t, name: name, dialer: &kafkatest.Dialer{Timeout: 2 * time.Second}, working: cancel}
	transport, err := kafka.New(addrs, kafka.WithDialer(s.dialer.DialContext))
	require.NoError(t, err)
	s.bus, err = bus.New(transport)
	require.NoError(t, err)
	s.monitor, err = liveness.Attach(s.bus, reg, liveness.WithServiceName(name), liveness.WithHistory(10_000))
	require.NoError(t, err)
	s.monitor.OnPing(func(liveness.PingResult) { <-ctx.Done() })
	s.work.Go(func() {
		for range s.monitor.Watch(ctx) {
			<-ctx.Done()
		}
	})
	s.work.Go(func() {
		for range s.monitor.Watch(ctx) {
			pause(ctx, 700*time.Millisecond)
		}
	})
	t.Cleanup(func() {
		cancel()
		s.work.Wait()
		closing, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		assert.NoError(t, s.monitor.Shutdown(closing))
		assert.NoError(t, s.bus.Shutdown(closing))
	})
	return s
}

// read subscribes in a group. Readiness requires the subscription from then on.
func (s *subject) read(topic, group string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitTimeout)
	defer cancel()
	sub, err := s.bus.Consume(context.WithoutCancel(s.t.Context()), topic, func(context.Context, *bus.Delivery) error { return nil }, bus.Group(group))
	require.NoError(s.t, err)
	s.monitor.Require(sub)
	require.NoError(s.t, sub.Ready(ctx))
}

// publish publishes from several goroutines until ctx ends. Each of them publishes a batch
// and then rests.
func (s *subject) publish(ctx context.Context, topic string, goroutines, batch int, rest time.Duration) (wait func()) {
	var publishing sync.WaitGroup
	for g := range goroutines {
		publishing.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				messages := make([]*message.Message, batch)
				for i := range messages {
					messages[i] = message.NewMessage(fmt.Sprintf("%d-%d-%d", g, n, i), make([]byte, 100))
					messages[i].SetContext(ctx)
				}
				_ = s.bus.Publish(topic, messages...) // the monitor observes the outcome
				if rest > 0 {
					pause(ctx, rest)
				}
			}
		})
	}
	return publishing.Wait
}

// await waits until the service is ready, or not ready. It returns the first time after the
// given time at which the service had this state.
func (s *subject) await(ready bool, after time.Time) (time.Time, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), waitTimeout)
	defer cancel()
	for state, err := s.monitor.Wait(ctx, 0); ; state, err = s.monitor.Wait(ctx, state.Version) {
		for _, past := range s.monitor.History() {
			if past.Status.Ready() == ready && past.Since.After(after) {
				return past.Since, nil
			}
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("%s did not become ready=%v: it is %s (%w): %w", s.name, ready, state.Status, state.Cause, err)
		}
	}
}

// losses returns how often the service became not ready.
func (s *subject) losses() uint64 {
	n := s.monitor.Transitions()
	return n[probe.NotReady] + n[probe.Failed]
}

// since returns the changes after a time, for the log of a failed test.
func (s *subject) since(after time.Time) (lines []string) {
	for _, state := range s.monitor.History() {
		if state.Since.After(after) {
			lines = append(lines, fmt.Sprintf("%s %s: live %v, %s: %v", state.Since.Format("15:04:05.000"), s.name, state.Live, state.Status, state.Cause))
		}
	}
	return lines
}
