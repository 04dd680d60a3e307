package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/transport/memory"
)

// mortal is a transport whose sessions a test can end, with an error.
type mortal struct {
	*memory.Transport
	mu   sync.Mutex
	last context.CancelCauseFunc
}

func (m *mortal) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	inner, err := m.Transport.Subscribe(ctx, s)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancelCause(context.Background())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = end
	return &mortalSession{inner, life}, nil
}

func (m *mortal) end(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last(err)
}

type mortalSession struct {
	driver.Session
	life context.Context
}

func (s *mortalSession) Next(ctx context.Context) (driver.Event, error) {
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	e, err := s.Session.Next(either)
	if err != nil && s.life.Err() != nil {
		return e, context.Cause(s.life)
	}
	return e, err
}

// A subscription that ends while it consumes is begun anew when that can help, after a
// back-off that grows with failures and not with days; otherwise the consumer stops, and
// says why.
func TestASubscriptionThatEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t"}))
		m := &mortal{Transport: tr}
		b, err := bus.New(m)
		require.NoError(t, err)
		defer b.Close()
		r := &rig{Bus: b, log: tr.Log()}
		var j journal
		c := r.consumer(t, j.handle)
		seen := watch(t, c)
		consuming(t, c)
		for i := range 20 {
			r.publish(t, i, 1, nil)
			elapse(time.Hour)
			begun := time.Now()
			m.end(&bus.Error{Code: bus.CodeUnavailable, Op: "consume", Reason: "the coordinator is gone"})
			synctest.Wait()
			require.Equal(t, consumer.Starting, c.State())
			require.Equal(t, bus.CodeUnavailable, bus.CodeOf(c.Current().Cause))
			wait(t, c, consumer.Consuming)
			require.LessOrEqual(t, time.Since(begun), 200*time.Millisecond, "each is the first after a long time")
		}
		elapse(time.Hour)
		require.Equal(t, sequence(0, 20), j.all())
		errNo := &bus.Error{Code: bus.CodePermissionDenied, Op: "consume", Reason: "not any more"}
		m.end(errNo)
		wait(t, c, consumer.Stopped)
		require.ErrorIs(t, c.Err(), errNo)
		consuming(t, c)
		require.NoError(t, c.Close(t.Context()))
		names := seen.closed()
		require.Equal(t, []string{"consuming", "stopping", "stopped", "starting", "consuming", "closing", "closed"}, names[len(names)-7:])
	})
}

// A Stop while it waits to subscribe again is obeyed at once.
func TestStopDuringTheBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		b, err := bus.New(&flaky{Transport: tr, left: 1_000_000, code: bus.CodeUnavailable})
		require.NoError(t, err)
		defer b.Close()
		c, err := consumer.New(b, "t", nop, consumer.Subscribe(bus.Group("g")))
		require.NoError(t, err)
		require.NoError(t, c.Start())
		elapse(time.Hour)
		begun := time.Now()
		stop(t, c)
		require.Zero(t, time.Since(begun))
		require.NoError(t, c.Err())
		require.NoError(t, c.Close(t.Context()))
	})
}

// The connection's trouble is the cause, before the subscription knows of any, which may
// be at once, and afterwards.
func TestTheCauseOfNotStarting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c := r.consumer(t, nop)
		r.faults.Disconnect(&bus.Error{Code: bus.CodeUnauthenticated, Op: "connect", Reason: "the login was refused"})
		require.NoError(t, c.Start())
		require.ErrorContains(t, c.Current().Cause, "the login was refused")
		synctest.Wait()
		require.ErrorContains(t, c.Current().Cause, "the login was refused")
		r.faults.Connect()
		wait(t, c, consumer.Consuming)
		require.NoError(t, c.Current().Cause)
	})
}

// What /detailz shows.
func TestDetails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := probe.New()
		r := newRig(t, 1)
		r.publish(t, 0, 3, nil)
		c := r.consumer(t, func(_ context.Context, d *bus.Delivery) error {
			if number(d) == 1 {
				return bus.Stop(errPlease)
			}
			return nil
		}, consumer.WithProbe(reg, "orders"))
		c.Pause()
		consuming(t, c)
		elapse(time.Minute)
		shown := details(t, reg)
		require.Equal(t, map[string]any{"t/0": 3.0}, shown["lag"])
		require.Equal(t, []any{"t", "g", "consuming", true, 0.0}, []any{shown["topic"], shown["group"], shown["state"], shown["paused"], shown["handled"]})
		c.Resume()
		wait(t, c, consumer.Stopped)
		shown = details(t, reg)
		require.Contains(t, shown["cause"], errPlease.Error())
		require.Equal(t, []any{"stopped", 1.0, nil}, []any{shown["state"], shown["handled"], shown["lag"]})
	})
}

// details is what a probe server shows of the service.
func details(t *testing.T, reg *probe.Registry) map[string]any {
	t.Helper()
	answer := httptest.NewRecorder()
	probe.Handler(reg).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/detailz", nil))
	var all map[string]struct{ Details map[string]any }
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &all))
	return all["orders"].Details
}

// Copies of other groups in a retry topic are left alone by batches, too, and what is
// answered for the others is about the right ones.
func TestBatchesAndOtherGroupsRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 4, nil)
		var j journal
		batches := func(group string, fails func(n int) bool) bus.BatchHandler {
			return func(_ context.Context, ds []*bus.Delivery) error {
				var failed bus.BatchError
				for i, d := range ds {
					if n := number(d); d.Record.Topic == "t" && fails(n) || n == 2 && consumer.Attempts(d) < 3 {
						failed.Add(i, errors.New(strings.Repeat("ü", 2000)))
					} else {
						j.add("%s %s %d", group, d.Record.Topic, n)
					}
				}
				return failed.Err()
			}
		}
		opts := []consumer.Option{consumer.WithBatch(10, time.Second), consumer.WithRetryTopics(time.Minute), consumer.WithRetry(consumer.Retry{Attempts: 1})}
		one := r.batchConsumer(t, batches("g", func(n int) bool { return n < 3 }), opts...)
		two := r.batchConsumer(t, batches("h", func(n int) bool { return n == 3 }), append(opts, consumer.Subscribe(bus.Group("h")))...)
		consuming(t, one)
		elapse(10 * time.Second)
		consuming(t, two)
		elapse(time.Hour)
		require.ElementsMatch(t, []string{"g t 3", "g t.retry.1 0", "g t.retry.1 1", "h t 0", "h t 1", "h t.retry.1 3"}, without(j.all(), "2"))
	})
}

// without leaves out what is about this message.
func without(lines []string, n string) []string {
	var left []string
	for _, l := range lines {
		if !strings.HasSuffix(l, " "+n) {
			left = append(left, l)
		}
	}
	return left
}

// A handler that stops the consumer while it is being stopped is not forgotten.
func TestAStopWithinAStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		release := make(chan struct{})
		c := r.consumer(t, func(context.Context, *bus.Delivery) error {
			<-release
			return bus.Stop(errPlease)
		})
		consuming(t, c)
		synctest.Wait()
		require.NoError(t, c.Stop())
		close(release)
		stop(t, c)
		require.Equal(t, consumer.Stopped, c.State())
		require.ErrorIs(t, c.Err(), errPlease)
		require.ErrorIs(t, c.Current().Cause, errPlease)
		require.Zero(t, r.committed(0))
	})
}
