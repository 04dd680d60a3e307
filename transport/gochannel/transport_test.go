package gochannel_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/gochannel"
)

// outcomes is a sink that keeps what it is told, by index, and each only once.
type outcomes struct {
	mu   sync.Mutex
	got  map[int]driver.Outcome
	more chan struct{}
}

func newOutcomes() *outcomes {
	return &outcomes{got: map[int]driver.Outcome{}, more: make(chan struct{}, 1)}
}

func (o *outcomes) Published(out *driver.Outgoing, r driver.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, twice := o.got[out.Index]; twice {
		panic("a message was completed twice")
	}
	o.got[out.Index] = r
}

func (o *outcomes) code(t *testing.T, i int) driver.Code {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.got[i]
	require.True(t, ok, "message %d has no outcome", i)
	require.Error(t, r.Err)
	return driver.CodeOf(r.Err)
}

func (o *outcomes) accepted() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, r := range o.got {
		if r.Err == nil {
			n++
		}
	}
	return n
}

func outgoing(ctx context.Context, sink driver.Sink, topic string, index int) driver.Outgoing {
	return driver.Outgoing{
		Context: ctx, Topic: topic, Partition: driver.AnyPartition, Index: index, Sink: sink,
		UUID: strconv.Itoa(index), Payload: []byte(strconv.Itoa(index)),
	}
}

func open(t *testing.T, opts ...gochannel.Option) *gochannel.Transport {
	t.Helper()
	tr, err := gochannel.New(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close(context.Background())) })
	return tr
}

func subscribe(t *testing.T, tr driver.Transport, topic string) (driver.Session, driver.Partition) {
	t.Helper()
	s, err := tr.Subscribe(t.Context(), driver.Subscription{Topic: topic, Start: driver.Start{Kind: driver.StartNewest}, MaxFetch: 10})
	require.NoError(t, err)
	e, err := s.Next(t.Context())
	require.NoError(t, err)
	require.True(t, e.Assigned)
	require.Len(t, e.Added, 1)
	require.Zero(t, e.Added[0].ID())
	return s, e.Added[0]
}

// read returns the payloads of the next n records, and checks their offsets.
func read(t *testing.T, p driver.Partition, from int64, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n {
		records, err := p.Fetch(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, records)
		for _, r := range records {
			require.Equal(t, from, r.Offset)
			from++
			got = append(got, string(r.Payload))
		}
	}
	require.Len(t, got, n)
	return got
}

func numbers(from, n int) []string {
	var s []string
	for i := range n {
		s = append(s, strconv.Itoa(from+i))
	}
	return s
}

func TestRecordHoldsWhatWasPublished(t *testing.T) {
	t.Parallel()
	tr := open(t)
	_, a := subscribe(t, tr, "orders")
	_, b := subscribe(t, tr, "orders")
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	payload := []byte("payload")
	sink := newOutcomes()
	tr.Publish([]driver.Outgoing{{
		Context: t.Context(), Topic: "orders", Partition: driver.AnyPartition, Key: []byte("device-7"), Timestamp: at,
		UUID: "id-1", Headers: []driver.Header{{Key: "trace", Value: "abc"}}, Payload: payload, Sink: sink,
	}})
	require.Equal(t, driver.Outcome{Partition: -1, Offset: -1}, sink.got[0])
	payload[0] = 'X' // it is the caller's again

	for _, p := range []driver.Partition{a, b} {
		records, err := p.Fetch(t.Context())
		require.NoError(t, err)
		require.Equal(t, []driver.Record{{
			Topic: "orders", Key: []byte("device-7"), Timestamp: at, UUID: "id-1",
			Headers: []driver.Header{{Key: "trace", Value: "abc"}}, Payload: []byte("payload"),
		}}, records)
		records[0].Headers[0].Value = "changed by one session" // the record is that session's own
	}
}

func TestEverySessionSeesAllInOneOrder(t *testing.T) {
	t.Parallel()
	tr := open(t, gochannel.WithBuffer(8))
	const publishers, each = 4, 500
	_, a := subscribe(t, tr, "orders")
	_, b := subscribe(t, tr, "orders")
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			sink := newOutcomes()
			var batch []driver.Outgoing
			for i := range each {
				batch = append(batch, outgoing(t.Context(), sink, "orders", p*each+i))
			}
			tr.Publish(batch[:each/2])
			tr.Publish(batch[each/2:])
			if n := sink.accepted(); n != each {
				panic(fmt.Sprint(n, " accepted"))
			}
		})
	}
	var first, second []string
	wg.Go(func() { first = read(t, a, 0, publishers*each) })
	wg.Go(func() { second = read(t, b, 0, publishers*each) })
	wg.Wait()
	require.Equal(t, first, second)
	for p := range publishers {
		var own []string
		for _, s := range first {
			if n, _ := strconv.Atoi(s); n/each == p {
				own = append(own, s)
			}
		}
		require.Equal(t, numbers(p*each, each), own, "the order of publisher %d", p)
	}
}

func TestNobodySubscribed(t *testing.T) {
	t.Parallel()
	tr := open(t)
	sink := newOutcomes()
	tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0)})
	require.Equal(t, 1, sink.accepted())
	_, p := subscribe(t, tr, "orders")
	tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 1)})
	require.Equal(t, []string{"1"}, read(t, p, 0, 1))
}

func TestGivingUpIsAllOrNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := open(t, gochannel.WithBuffer(2))
		_, stalled := subscribe(t, tr, "orders")
		_, quick := subscribe(t, tr, "orders")
		sink := newOutcomes()
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0), outgoing(t.Context(), sink, "orders", 1)})
		require.Equal(t, numbers(0, 2), read(t, quick, 0, 2))

		deadline, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		canceled, giveUp := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, giveUp)
		dead, kill := context.WithCancel(t.Context())
		kill()
		start := time.Now()
		tr.Publish([]driver.Outgoing{
			outgoing(deadline, sink, "orders", 2), outgoing(canceled, sink, "orders", 3), outgoing(dead, sink, "orders", 4),
		})
		require.Equal(t, 2*time.Second, time.Since(start))
		require.Equal(t, driver.CodeDeadlineExceeded, sink.code(t, 2))
		require.ErrorIs(t, sink.got[2].Err, context.DeadlineExceeded)
		require.Equal(t, driver.CodeCanceled, sink.code(t, 3))
		require.Equal(t, driver.CodeCanceled, sink.code(t, 4))

		require.Equal(t, numbers(0, 2), read(t, stalled, 0, 2))
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 5)})
		require.Equal(t, []string{"5"}, read(t, quick, 2, 1), "what was given up on reached nobody")
		require.Equal(t, []string{"5"}, read(t, stalled, 2, 1), "what was given up on reached nobody")
	})
}

func TestWaitingPublishersAreServedInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := open(t, gochannel.WithBuffer(1))
		_, p := subscribe(t, tr, "orders")
		sink := newOutcomes()
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0)})
		impatient, leave := context.WithCancel(t.Context())
		for i := range 6 {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = impatient
			}
			go tr.Publish([]driver.Outgoing{outgoing(ctx, sink, "orders", i+1)})
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		require.Equal(t, []string{"0", "2", "4", "6"}, read(t, p, 0, 4))
		for _, i := range []int{1, 3, 5} {
			require.Equal(t, driver.CodeCanceled, sink.code(t, i))
		}
	})
}

func TestStalledSubscriberHoldsUpItsTopicOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := open(t, gochannel.WithBuffer(1))
		stalled, _ := subscribe(t, tr, "a")
		_, other := subscribe(t, tr, "b")
		sink := newOutcomes()
		batch := []driver.Outgoing{
			outgoing(t.Context(), sink, "a", 0), outgoing(t.Context(), sink, "a", 1),
			outgoing(t.Context(), sink, "b", 2), outgoing(t.Context(), sink, "b", 3),
		}
		done := make(chan struct{})
		go func() { defer close(done); tr.Publish(batch) }()
		synctest.Wait()

		require.Equal(t, numbers(2, 2), read(t, other, 0, 2), "the other topic goes on, within one batch too")
		_, late := subscribe(t, tr, "a")
		require.NoError(t, stalled.Close(t.Context()))
		require.Equal(t, []string{"1"}, read(t, late, 0, 1), "closing the stalled session makes room")
		<-done
		require.Equal(t, 4, sink.accepted())
	})
}

func TestStalledSubscriberCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := open(t, gochannel.WithBuffer(100))
		_, p := subscribe(t, tr, "orders")
		before := runtime.NumGoroutine()
		sink := newOutcomes()
		const n = 20_000
		for i := range n {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			tr.Publish([]driver.Outgoing{outgoing(ctx, sink, "orders", i)})
			cancel()
		}
		synctest.Wait()
		// Other tests run beside this one: what counts is that it is not one a message.
		require.Less(t, runtime.NumGoroutine()-before, n/100)
		require.Equal(t, 100, sink.accepted())
		require.Equal(t, numbers(0, 100), read(t, p, 0, 100))
	})
}

func TestCloseEndsWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := gochannel.New(gochannel.WithBuffer(1))
		require.NoError(t, err)
		session, p := subscribe(t, tr, "orders")
		sink := newOutcomes()
		go tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0), outgoing(t.Context(), sink, "orders", 1)})
		synctest.Wait()
		_, idle := subscribe(t, tr, "other")
		errs := make(chan error, 2)
		go func() { _, err := idle.Fetch(t.Context()); errs <- err }()
		go func() { _, err := session.Next(t.Context()); errs <- err }()
		synctest.Wait()

		require.NoError(t, tr.Close(t.Context()))
		require.NoError(t, tr.Close(t.Context()), "idempotent")
		require.NoError(t, session.Close(t.Context()))
		require.Equal(t, 1, sink.accepted())
		require.Equal(t, driver.CodeClosed, sink.code(t, 1))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(<-errs))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(<-errs))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(context.Cause(p.Context())))

		_, err = p.Fetch(t.Context())
		require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
		_, err = tr.Subscribe(t.Context(), driver.Subscription{Topic: "orders"})
		require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 2)})
		require.Equal(t, driver.CodeClosed, sink.code(t, 2))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(tr.Ready(t.Context())))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(tr.Ping(t.Context())))
	})
}

func TestPublishRacingClose(t *testing.T) {
	t.Parallel()
	for range 50 {
		tr, err := gochannel.New(gochannel.WithBuffer(4))
		require.NoError(t, err)
		_, _ = subscribe(t, tr, "orders")
		sink := newOutcomes()
		const publishers, each = 4, 20
		var wg sync.WaitGroup
		for p := range publishers {
			wg.Go(func() {
				for i := range each {
					tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", p*each+i)})
				}
			})
		}
		wg.Go(func() { _ = tr.Close(t.Context()) })
		wg.Wait()
		require.Len(t, sink.got, publishers*each)
		for i, r := range sink.got {
			if r.Err != nil {
				require.Equal(t, driver.CodeClosed, sink.code(t, i))
			}
		}
	}
}

func TestFetchTakesNoMoreThanAsked(t *testing.T) {
	t.Parallel()
	tr := open(t)
	s, err := tr.Subscribe(t.Context(), driver.Subscription{Topic: "orders", MaxFetch: 3})
	require.NoError(t, err)
	e, err := s.Next(t.Context())
	require.NoError(t, err)
	sink := newOutcomes()
	var batch []driver.Outgoing
	for i := range 40 {
		batch = append(batch, outgoing(t.Context(), sink, "orders", i))
	}
	tr.Publish(batch)
	var got []string
	for len(got) < 40 {
		records, err := e.Added[0].Fetch(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, len(records), 3)
		for _, r := range records {
			got = append(got, string(r.Payload))
		}
	}
	require.True(t, slices.Equal(numbers(0, 40), got))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = e.Added[0].Fetch(ctx)
	require.Equal(t, driver.CodeCanceled, driver.CodeOf(err))
	_, err = s.Next(ctx)
	require.Equal(t, driver.CodeCanceled, driver.CodeOf(err))
	require.NoError(t, e.Added[0].Commit(t.Context(), 40, ""))
	e.Added[0].Release()
}

func TestWhatItCannotDo(t *testing.T) {
	t.Parallel()
	tr := open(t)
	require.Equal(t, driver.Capabilities{Name: "chan", Ordered: true, Keys: true, HeaderOrder: true}, tr.Capabilities())
	for name, c := range map[string]struct {
		s    driver.Subscription
		code driver.Code
	}{
		"empty topic": {driver.Subscription{}, driver.CodeInvalidArgument},
		"group":       {driver.Subscription{Topic: "t", Group: "g"}, driver.CodeUnsupported},
		"partitions":  {driver.Subscription{Topic: "t", Partitions: []int32{0}}, driver.CodeUnsupported},
		"offset":      {driver.Subscription{Topic: "t", Start: driver.Start{Kind: driver.StartAtOffset}}, driver.CodeUnsupported},
		"time":        {driver.Subscription{Topic: "t", Start: driver.Start{Kind: driver.StartAtTime}}, driver.CodeUnsupported},
	} {
		_, err := tr.Subscribe(t.Context(), c.s)
		require.Equal(t, c.code, driver.CodeOf(err), name)
	}
	sink := newOutcomes()
	named := outgoing(t.Context(), sink, "orders", 0)
	named.Partition = 1
	tr.Publish([]driver.Outgoing{named, outgoing(t.Context(), sink, "", 1)})
	require.Equal(t, driver.CodeUnsupported, sink.code(t, 0))
	require.Equal(t, driver.CodeInvalidArgument, sink.code(t, 1))

	_, err := gochannel.New(gochannel.WithBuffer(0))
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))

	var seen []driver.ConnectionState
	tr.Observe(func(c driver.Connection) { seen = append(seen, c.State) })
	require.Equal(t, []driver.ConnectionState{driver.Connected}, seen)
	require.NoError(t, tr.Ready(t.Context()))
	require.NoError(t, tr.Ping(t.Context()))
}
