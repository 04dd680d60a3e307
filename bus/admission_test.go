package bus_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/internal/seam"
)

// While the admission function blocks, the handler is not called. When the subscription drains, the
// message is released.
func TestAdmissionDelaysTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 5, nil)...)
		b := s.bus(t)
		open := make(chan struct{}, 10)
		var asked, handled atomic.Int64
		sub := consume(t, s, b, p, func(context.Context, *bus.Delivery) error {
			handled.Add(1)
			return nil
		}, bus.Group("g"), bus.Unordered(), bus.Window(3), delivery.Admission(func(ctx context.Context, r delivery.AdmissionRequest) error {
			assert.Len(t, r.Records, 1)
			asked.Add(1)
			select {
			case <-open:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}))
		synctest.Wait()
		require.EqualValues(t, 3, asked.Load(), "messages that wait for admission count for the window")
		require.Zero(t, handled.Load())
		open <- struct{}{}
		synctest.Wait()
		require.EqualValues(t, 1, handled.Load())
		require.EqualValues(t, 4, asked.Load())
		begun := time.Now()
		require.NoError(t, sub.Shutdown(t.Context()))
		require.Zero(t, time.Since(begun))
		require.EqualValues(t, 1, handled.Load())
		require.NoError(t, b.Close())
	})
}

// The functions are called in order, up to the first that returns an error.
func TestAdmissionFunctionsAreCalledInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 2, nil)...)
		b := s.bus(t)
		var j journal
		admission := func(name string, failsOnce int64) bus.SubscribeOption {
			return delivery.Admission(func(_ context.Context, r delivery.AdmissionRequest) error {
				j.add("%s %d", name, r.Records[0].Offset)
				if r.Records[0].Offset == failsOnce {
					failsOnce = -1
					return errors.New("not yet")
				}
				return nil
			})
		}
		sub := consume(t, s, b, p, func(_ context.Context, d *bus.Delivery) error {
			j.add("handler %d", d.Record.Offset)
			return nil
		}, bus.Group("g"), admission("first", 0), admission("second", 1))
		elapse(time.Minute)
		require.Equal(t, []string{"first 0", "first 0", "second 0", "handler 0", "first 1", "second 1", "first 1", "second 1", "handler 1"}, j.all())
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}

// After an error of the admission function the subscription tries the batch again, and does not
// call the handler. It also calls the function for the last batch of a drain.
func TestAdmissionIsCalledForEachBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 4, nil)...)
		b := s.bus(t)
		var asked atomic.Int64
		var j journal
		sub := consumeBatches(t, s, b, p, func(_ context.Context, ds []*bus.Delivery) error {
			j.add("%v", offsets(ds))
			return nil
		}, bus.Group("g"), bus.BatchSize(3), bus.BatchAge(time.Hour), delivery.Admission(func(ctx context.Context, r delivery.AdmissionRequest) error {
			assert.NoError(t, ctx.Err())
			select {
			case <-r.Draining:
				j.add("drain %d", len(r.Records))
			default:
			}
			if asked.Add(1) == 1 {
				return errors.New("not now")
			}
			return nil
		}))
		elapse(time.Minute)
		require.Equal(t, []string{"[0 1 2]"}, j.all())
		require.NoError(t, sub.Shutdown(t.Context()))
		require.Equal(t, []string{"[0 1 2]", "drain 1", "[3]"}, j.all())
		require.EqualValues(t, 4, p.last())
		require.NoError(t, b.Close())
	})
}

// InFlight bounds the messages of all partitions, including those that wait for the next attempt.
func TestInFlightBoundsTheWholeSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p, q := newScript(), newScriptPartition(records(0, 5, nil)...), newScriptPartition(records(0, 5, nil)...)
		b := s.bus(t)
		var mu sync.Mutex
		begun, fail := map[*bus.Record]bool{}, true
		handle := func(_ context.Context, d *bus.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			begun[d.Record] = true
			if fail {
				return bus.RetryAfter(time.Second, nil)
			}
			return nil
		}
		sub, err := b.Consume(t.Context(), "t", handle, bus.Group("g"), bus.Unordered(), bus.InFlight(3))
		require.NoError(t, err)
		s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p, q}}
		elapse(time.Minute)
		mu.Lock()
		require.Len(t, begun, 3)
		fail = false
		mu.Unlock()
		elapse(time.Minute)
		mu.Lock()
		require.Len(t, begun, 10)
		mu.Unlock()
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}

// Two batches of 3 do not fit into InFlight(4): they are handled one after the other.
func TestInFlightCountsTheMessagesOfBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p, q := newScript(), newScriptPartition(records(0, 9, nil)...), newScriptPartition(records(0, 9, nil)...)
		b := s.bus(t)
		var inFlight, most, handled atomic.Int64
		sub, err := b.ConsumeBatches(t.Context(), "t", func(_ context.Context, ds []*bus.Delivery) error {
			most.Store(max(most.Load(), inFlight.Add(int64(len(ds)))))
			time.Sleep(time.Second)
			inFlight.Add(int64(-len(ds)))
			handled.Add(int64(len(ds)))
			return nil
		}, bus.Group("g"), bus.BatchSize(3), bus.InFlight(4))
		require.NoError(t, err)
		s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p, q}}
		elapse(time.Minute)
		require.EqualValues(t, 18, handled.Load())
		require.EqualValues(t, 3, most.Load())
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}

type events struct{ j journal }

func (s *events) OnSession(e hook.SessionEvent)   { s.j.add("session %v %v", e.Assigned, e.Ended) }
func (s *events) OnDelivery(e hook.DeliveryEvent) { s.j.add("delivery %d", e.Record.Offset) }
func (s *events) OnCommit(e hook.CommitEvent)     { s.j.add("commit %d", e.Next) }
func (s *events) OnDeadLetter(e hook.DeadLetterEvent) {
	s.j.add("dead letter %s %v", e.Topic, e.Cause)
}

// The hooks of a subscription get the events of that subscription only.
func TestSubscriptionHooksGetOnlyItsEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition()
		whole, own := &events{}, &events{}
		b := s.bus(t, bus.WithHooks(whole))
		sub := consume(t, s, b, p, func(_ context.Context, d *bus.Delivery) error {
			if d.Record.Offset == 1 {
				return bus.DeadLetter(errors.New("poison"))
			}
			return nil
		}, bus.Group("g"), bus.DeadLetterTopic("dead"), delivery.WithHooks(own))
		synctest.Wait() // the hooks have the event of the assignment
		p.records <- records(0, 2, nil)
		synctest.Wait()
		require.NoError(t, sub.Shutdown(t.Context()))
		want := []string{"session true false", "delivery 0", "commit 1", "delivery 1", "dead letter dead poison", "commit 2", "session false true"}
		require.Equal(t, want, own.j.all())
		require.Equal(t, want, whole.j.all())
		other, err := b.Consume(t.Context(), "u", func(context.Context, *bus.Delivery) error { return nil })
		require.NoError(t, err)
		require.NoError(t, other.Shutdown(t.Context()))
		require.Len(t, own.j.all(), len(want))
		require.Greater(t, len(whole.j.all()), len(want))
		_, err = b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil }, delivery.WithHooks("nothing"))
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
		require.NoError(t, b.Close())
	})
}

func TestAtMostOnceCannotBeCombinedWithAdmissionOrInFlight(t *testing.T) {
	t.Parallel()
	b := newScript().bus(t)
	nop := func(context.Context, *bus.Delivery) error { return nil }
	admit := delivery.Admission(func(context.Context, delivery.AdmissionRequest) error { return nil })
	for name, opts := range map[string][]bus.SubscribeOption{
		"admission": {bus.AtMostOnce(), admit}, "in flight": {bus.AtMostOnce(), bus.InFlight(1)},
		"none in flight": {bus.InFlight(0)},
	} {
		_, err := b.Consume(t.Context(), "t", nop, opts...)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "%s: %v", name, err)
	}
	internal := seam.Of(b)
	_, err := internal.Check("t", false, bus.Window(0))
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
	got, err := internal.Check("t", false, bus.Group("g"), bus.OrderByKey(), bus.DeadLetterTopic("dead"))
	require.NoError(t, err)
	require.Equal(t, []any{"g", "dead", 64}, []any{got.Group, got.DeadLetterTopic, got.Window})
	require.NoError(t, b.Close())
	_, err = internal.Check("t", false)
	require.Equal(t, bus.CodeClosed, bus.CodeOf(err))
}

func TestOriginOfARetriedRecord(t *testing.T) {
	t.Parallel()
	at := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	plain := bus.Record{Topic: "t", Partition: 1, Offset: 2, Headers: []bus.Header{{Key: "a", Value: "1"}}}
	require.Equal(t, plain, deadletter.Origin(&plain))
	copied := bus.Record{Topic: "t.retry.1", Partition: 0, Offset: 9, Key: []byte("k"), Headers: []bus.Header{
		{Key: deadletter.RetryTopicHeader, Value: "t"}, {Key: deadletter.RetryPartitionHeader, Value: "1"}, {Key: "a", Value: "1"},
		{Key: deadletter.RetryOffsetHeader, Value: "2"}, {Key: deadletter.RetryTimestampHeader, Value: at.Format(time.RFC3339Nano)},
		{Key: deadletter.RetryDueHeader, Value: "x"}}}
	require.Equal(t, bus.Record{Topic: "t", Partition: 1, Offset: 2, Key: []byte("k"), Timestamp: at, Headers: []bus.Header{{Key: "a", Value: "1"}}}, deadletter.Origin(&copied))
	require.Len(t, copied.Headers, 6, "Origin does not change its argument")
	bad := bus.Record{Topic: "t.retry.1", Headers: []bus.Header{{Key: deadletter.RetryTopicHeader, Value: "t"}, {Key: deadletter.RetryOffsetHeader, Value: "?"}}}
	got := deadletter.Origin(&bad)
	require.Equal(t, []any{"t", int32(-1), int64(-1)}, []any{got.Topic, got.Partition, got.Offset})
}

func TestRevokedBatchDoesNotBlockInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		claims := []*scriptPartition{newScriptPartition(records(0, 2, nil)...), newScriptPartition(records(10, 3, nil)...), newScriptPartition(records(20, 1, nil)...)}
		b := s.bus(t)
		release := make(chan struct{})
		var j journal
		sub, err := b.ConsumeBatches(t.Context(), "t", func(_ context.Context, ds []*bus.Delivery) error {
			j.add("%v", offsets(ds))
			<-release
			return nil
		}, bus.Group("g"), bus.BatchSize(3), bus.BatchAge(time.Second), bus.InFlight(3))
		require.NoError(t, err)
		for _, p := range claims { // one after the other, so that the batches wait in this order
			s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
			elapse(time.Minute)
		}
		require.Equal(t, []string{"[0 1]"}, j.all(), "the second batch exceeds InFlight, and waits before the third")
		claims[1].revoke(errors.New("lost"))
		synctest.Wait()
		require.Equal(t, []string{"[0 1]", "[20]"}, j.all())
		close(release)
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}

type connections struct{ j journal }

func (c *connections) OnConnection(n driver.Connection) { c.j.add("%v", n.State) }

// The connection hook of a subscription gets changes while the subscription lives.
func TestConnectionHookOfASubscription(t *testing.T) {
	t.Parallel()
	s := newScript()
	whole, own := &connections{}, &connections{}
	b := s.bus(t, bus.WithHooks(whole))
	report := func(state driver.ConnectionState) {
		s.mu.Lock()
		observe := s.observe
		s.mu.Unlock()
		observe(driver.Connection{State: state})
	}
	sub, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil }, delivery.WithHooks(own))
	require.NoError(t, err)
	report(driver.Disconnected)
	report(driver.Connected)
	require.NoError(t, sub.Shutdown(t.Context()))
	report(driver.Refused)
	require.Equal(t, []string{"disconnected", "connected"}, own.j.all())
	require.Equal(t, []string{"connected", "disconnected", "connected", "refused"}, whole.j.all(), "the hook of the bus gets each state once")
	require.NoError(t, b.Close())
}
