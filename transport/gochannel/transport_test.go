package gochannel_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/gochannel"
)

// wait bounds every wait of a test. It is reached only if the test fails.
const wait = 20 * time.Second

// bounded returns a context that ends with the test, or after wait.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	t.Cleanup(cancel)
	return ctx
}

// outcomes is a sink that keeps the outcomes by index. It fails the test if a message has two.
type outcomes struct {
	t   *testing.T
	mu  sync.Mutex
	got map[int]driver.Outcome
}

func newOutcomes(t *testing.T) *outcomes {
	return &outcomes{t: t, got: map[int]driver.Outcome{}}
}

func (o *outcomes) Published(out *driver.Outgoing, r driver.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, twice := o.got[out.Index]; twice {
		assert.Fail(o.t, "a message was completed twice")
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
	ctx := bounded(t)
	s, err := tr.Subscribe(ctx, driver.Subscription{Topic: topic, Start: driver.Start{Kind: driver.StartNewest}, MaxFetch: 10})
	require.NoError(t, err)
	e, err := s.Next(ctx)
	require.NoError(t, err)
	require.True(t, e.Assigned)
	require.Len(t, e.Added, 1)
	require.Zero(t, e.Added[0].ID())
	return s, e.Added[0]
}

// read returns the payloads of the next n records. Their offsets must start at from.
func read(t *testing.T, p driver.Partition, from int64, n int) []string {
	t.Helper()
	got, err := tryRead(bounded(t), p, from, n)
	require.NoError(t, err)
	return got
}

// tryRead is read for goroutines other than that of the test.
func tryRead(ctx context.Context, p driver.Partition, from int64, n int) ([]string, error) {
	var got []string
	for len(got) < n {
		records, err := p.Fetch(ctx)
		if err != nil {
			return got, fmt.Errorf("%d of %d records were read: %w", len(got), n, err)
		}
		for _, r := range records {
			if r.Offset != from {
				return got, fmt.Errorf("record %q has offset %d, want %d", r.Payload, r.Offset, from)
			}
			from++
			got = append(got, string(r.Payload))
		}
	}
	return got, nil
}

func numbers(from, n int) []string {
	var s []string
	for i := range n {
		s = append(s, strconv.Itoa(from+i))
	}
	return s
}

func TestRecordEqualsPublishedMessage(t *testing.T) {
	t.Parallel()
	tr := open(t)
	_, a := subscribe(t, tr, "orders")
	_, b := subscribe(t, tr, "orders")
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	payload := []byte("payload")
	sink := newOutcomes(t)
	tr.Publish([]driver.Outgoing{{
		Context: t.Context(), Topic: "orders", Partition: driver.AnyPartition, Key: []byte("device-7"), Timestamp: at,
		UUID: "id-1", Headers: []driver.Header{{Key: "trace", Value: "abc"}}, Payload: payload, Sink: sink,
	}})
	require.Equal(t, driver.Outcome{Partition: -1, Offset: -1}, sink.got[0])
	payload[0] = 'X' // the caller can reuse it

	for _, p := range []driver.Partition{a, b} {
		records, err := p.Fetch(bounded(t))
		require.NoError(t, err)
		require.Equal(t, []driver.Record{{
			Topic: "orders", Key: []byte("device-7"), Timestamp: at, UUID: "id-1",
			Headers: []driver.Header{{Key: "trace", Value: "abc"}}, Payload: []byte("payload"),
		}}, records)
		records[0].Headers[0].Value = "changed by one session" // the headers belong to one session
	}
}

func TestEverySessionReceivesAllMessagesInOneOrder(t *testing.T) {
	t.Parallel()
	tr := open(t, gochannel.WithBuffer(8))
	const publishers, each = 4, 500
	_, a := subscribe(t, tr, "orders")
	_, b := subscribe(t, tr, "orders")
	publishing := bounded(t)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			sink := newOutcomes(t)
			var batch []driver.Outgoing
			for i := range each {
				batch = append(batch, outgoing(publishing, sink, "orders", p*each+i))
			}
			tr.Publish(batch[:each/2])
			tr.Publish(batch[each/2:])
			assert.Equal(t, each, sink.accepted())
		})
	}
	var first, second []string
	ctx := bounded(t)
	wg.Go(func() {
		var err error
		first, err = tryRead(ctx, a, 0, publishers*each)
		assert.NoError(t, err)
	})
	wg.Go(func() {
		var err error
		second, err = tryRead(ctx, b, 0, publishers*each)
		assert.NoError(t, err)
	})
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

func TestMessageWithoutSubscriptionIsDropped(t *testing.T) {
	t.Parallel()
	tr := open(t)
	sink := newOutcomes(t)
	tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0)})
	require.Equal(t, 1, sink.accepted())
	_, p := subscribe(t, tr, "orders")
	tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 1)})
	require.Equal(t, []string{"1"}, read(t, p, 0, 1))
}

func TestFetchReturnsAtMostMaxFetchRecords(t *testing.T) {
	t.Parallel()
	tr := open(t)
	s, err := tr.Subscribe(bounded(t), driver.Subscription{Topic: "orders", MaxFetch: 3})
	require.NoError(t, err)
	e, err := s.Next(bounded(t))
	require.NoError(t, err)
	sink := newOutcomes(t)
	var batch []driver.Outgoing
	for i := range 40 {
		batch = append(batch, outgoing(t.Context(), sink, "orders", i))
	}
	tr.Publish(batch)
	var got []string
	for len(got) < 40 {
		records, err := e.Added[0].Fetch(bounded(t))
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

func TestUnsupportedRequestsAreRejected(t *testing.T) {
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
	sink := newOutcomes(t)
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
