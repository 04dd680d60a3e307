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

// endableTransport is a transport whose latest session a test can end with an error.
type endableTransport struct {
	*memory.Transport
	mu      sync.Mutex
	endLast context.CancelCauseFunc
}

func (m *endableTransport) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	inner, err := m.Transport.Subscribe(ctx, s)
	if err != nil {
		return nil, err
	}
	ended, end := context.WithCancelCause(context.Background())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLast = end
	return &endableSession{inner, ended}, nil
}

func (m *endableTransport) end(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLast(err)
}

type endableSession struct {
	driver.Session
	ended context.Context
}

func (s *endableSession) Next(ctx context.Context) (driver.Event, error) {
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)()
	e, err := s.Session.Next(either)
	if err != nil && s.ended.Err() != nil {
		return e, context.Cause(s.ended)
	}
	return e, err
}

// When a subscription ends with a temporary error the consumer subscribes again. The back-off
// starts anew after a long success. After another error the consumer stops.
func TestSubscriptionThatEndsIsMadeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t"}))
		m := &endableTransport{Transport: tr}
		b, err := bus.New(m)
		require.NoError(t, err)
		defer b.Close()
		r := &rig{Bus: b, log: tr.Log()}
		var j journal
		c := r.consumer(t, j.handle)
		seen := watch(t, c)
		consuming(t, c)
		temporary := []bus.Code{bus.CodeUnavailable, bus.CodeDeadlineExceeded, bus.CodeOutcomeUnknown, bus.CodeResourceExhausted, bus.CodeRevoked}
		for i := range 20 {
			r.publish(t, i, 1, nil)
			elapse(time.Hour)
			begun := time.Now()
			code := temporary[i%len(temporary)]
			m.end(&bus.Error{Code: code, Op: "consume", Reason: "by the test"})
			synctest.Wait()
			require.Equal(t, consumer.Starting, c.State())
			require.Equal(t, code, bus.CodeOf(c.Current().Cause))
			wait(t, c, consumer.Consuming)
			require.LessOrEqual(t, time.Since(begun), 200*time.Millisecond, "the back-off starts anew after a long success")
		}
		elapse(time.Hour)
		require.Equal(t, sequence(0, 20), j.all())
		errDenied := &bus.Error{Code: bus.CodePermissionDenied, Op: "consume", Reason: "by the test"}
		m.end(errDenied)
		wait(t, c, consumer.Stopped)
		require.ErrorIs(t, c.Err(), errDenied)
		consuming(t, c)
		require.NoError(t, c.Shutdown(t.Context()))
		names := seen.closed()
		require.Equal(t, []string{"consuming", "stopping", "stopped", "starting", "consuming", "closing", "closed"}, names[len(names)-7:])
	})
}

// Stop does not wait for the back-off between subscriptions.
func TestStopDuringTheBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		unavailable := &flaky{Transport: tr, left: 1_000_000, code: bus.CodeUnavailable}
		b, err := bus.New(unavailable)
		require.NoError(t, err)
		defer b.Close()
		c, err := consumer.New(b, "t", nop, bus.Group("g"))
		require.NoError(t, err)
		require.NoError(t, c.Start())
		elapse(time.Hour)
		require.Less(t, unavailable.left, 1_000_000-int(time.Hour/(32*time.Second)), "the pause is at most 32 s")
		begun := time.Now()
		stop(t, c)
		require.Zero(t, time.Since(begun))
		require.NoError(t, c.Err())
		require.NoError(t, c.Shutdown(t.Context()))
	})
}

// The cause of Starting is the error of the connection, which is known before that of the
// subscription.
func TestCauseOfStartingIsTheConnectionError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c := r.consumer(t, nop)
		r.faults.Disconnect(&bus.Error{Code: bus.CodeUnauthenticated, Op: "connect", Reason: "the credentials were rejected"})
		require.NoError(t, c.Start())
		require.ErrorContains(t, c.Current().Cause, "the credentials were rejected")
		synctest.Wait()
		require.ErrorContains(t, c.Current().Cause, "the credentials were rejected")
		r.faults.Connect()
		wait(t, c, consumer.Consuming)
		require.NoError(t, c.Current().Cause)
	})
}

func TestDetailzShowsTheConsumer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := probe.New()
		r := newRig(t, 1)
		r.publish(t, 0, 3, nil)
		c := r.consumer(t, func(_ context.Context, d *bus.Delivery) error {
			if number(d) == 1 {
				return bus.Stop(errTest)
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
		require.Contains(t, shown["cause"], errTest.Error())
		require.Equal(t, []any{"stopped", 1.0, nil}, []any{shown["state"], shown["handled"], shown["lag"]})
	})
}

// details returns what /detailz shows for the service.
func details(t *testing.T, reg *probe.Registry) map[string]any {
	t.Helper()
	answer := httptest.NewRecorder()
	probe.Handler(reg).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/detailz", nil))
	var all map[string]struct{ Details map[string]any }
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &all))
	return all["orders"].Details
}

// A batch in a retry topic leaves out copies of other groups, and errors are assigned to the
// right messages.
func TestBatchSkipsRetriesOfOtherGroups(t *testing.T) {
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
		opts := []consumer.Option{bus.BatchSize(10), bus.BatchAge(time.Second), consumer.WithRetryTopics(time.Minute), consumer.WithAttempts(1)}
		one := r.batchConsumer(t, batches("g", func(n int) bool { return n < 3 }), opts...)
		two := r.batchConsumer(t, batches("h", func(n int) bool { return n == 3 }), append(opts, bus.Group("h"))...)
		consuming(t, one)
		elapse(10 * time.Second)
		consuming(t, two)
		elapse(time.Hour)
		require.ElementsMatch(t, []string{"g t 3", "g t.retry.1 0", "g t.retry.1 1", "h t 0", "h t 1", "h t.retry.1 3"}, without(j.all(), "2"))
	})
}

// without returns the lines that are not about message n.
func without(lines []string, n string) []string {
	var left []string
	for _, l := range lines {
		if !strings.HasSuffix(l, " "+n) {
			left = append(left, l)
		}
	}
	return left
}

// A bus.Stop of a handler during a Stop is the error of the consumer.
func TestHandlerStopsDuringStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		release := make(chan struct{})
		c := r.consumer(t, func(context.Context, *bus.Delivery) error {
			<-release
			return bus.Stop(errTest)
		})
		consuming(t, c)
		synctest.Wait()
		require.NoError(t, c.Stop())
		close(release)
		stop(t, c)
		require.Equal(t, consumer.Stopped, c.State())
		require.ErrorIs(t, c.Err(), errTest)
		require.ErrorIs(t, c.Current().Cause, errTest)
		require.Zero(t, r.committed(0))
	})
}

// Err does not return a temporary error, even if Stop is called before the consumer subscribes again.
func TestStopAfterTemporaryError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t"}))
		m := &endableTransport{Transport: tr}
		b, err := bus.New(m)
		require.NoError(t, err)
		defer b.Close()
		r := &rig{Bus: b, log: tr.Log()}
		r.publish(t, 0, 1, nil)
		release := make(chan struct{})
		c := r.consumer(t, func(context.Context, *bus.Delivery) error {
			<-release
			return nil
		})
		consuming(t, c)
		synctest.Wait()
		m.end(&bus.Error{Code: bus.CodeUnavailable, Op: "consume", Reason: "by the test"})
		synctest.Wait() // the subscription ends when the handler returns
		require.NoError(t, c.Stop())
		close(release)
		stop(t, c)
		require.NoError(t, c.Err())
		require.NoError(t, c.Current().Cause)
	})
}
