package memory_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
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

// newTransport returns a transport that is closed with the test.
func newTransport(t *testing.T, opts ...memory.Option) *memory.Transport {
	t.Helper()
	tr, err := memory.New(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close(context.Background())) })
	return tr
}

// sameLog returns another transport on the log of tr.
func sameLog(t *testing.T, tr *memory.Transport) *memory.Transport {
	t.Helper()
	return newTransport(t, memory.WithLog(tr.Log()))
}

func createTopic(t *testing.T, tr *memory.Transport, partitions int32) {
	t.Helper()
	require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "t", Partitions: partitions}))
}

// outcomes is a sink that keeps the outcomes.
type outcomes chan result

type result struct {
	index int
	driver.Outcome
}

func (o outcomes) Published(out *driver.Outgoing, r driver.Outcome) { o <- result{out.Index, r} }

type outOption func(*driver.Outgoing)

func to(partition int32) outOption { return func(o *driver.Outgoing) { o.Partition = partition } }
func keyed(key string) outOption   { return func(o *driver.Outgoing) { o.Key = []byte(key) } }
func at(when time.Time) outOption  { return func(o *driver.Outgoing) { o.Timestamp = when } }
func topic(name string) outOption  { return func(o *driver.Outgoing) { o.Topic = name } }

func outgoing(ctx context.Context, sink driver.Sink, payload string, opts ...outOption) driver.Outgoing {
	o := driver.Outgoing{Context: ctx, Topic: "t", Partition: driver.AnyPartition,
		UUID: "uuid-" + payload, Payload: []byte(payload), Sink: sink}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// receive returns the next value of c. It fails the test if there is none within wait.
func receive[T any](t require.TestingT, c <-chan T) T {
	select {
	case v := <-c:
		return v
	case <-time.After(wait):
		require.FailNow(t, "nothing was received")
		panic("unreachable")
	}
}

// publish returns the outcome of one message.
func publish(ctx context.Context, tr *memory.Transport, payload string, opts ...outOption) driver.Outcome {
	sink := make(outcomes, 1)
	tr.Publish([]driver.Outgoing{outgoing(ctx, sink, payload, opts...)})
	return (<-sink).Outcome
}

func mustPublish(t *testing.T, tr *memory.Transport, payload string, opts ...outOption) driver.Outcome {
	t.Helper()
	r := publish(bounded(t), tr, payload, opts...)
	require.NoError(t, r.Err)
	return r
}

func subscribe(t *testing.T, tr *memory.Transport, sub driver.Subscription) driver.Session {
	t.Helper()
	if sub.Topic == "" {
		sub.Topic = "t"
	}
	if sub.MaxFetch == 0 {
		sub.MaxFetch = 100
	}
	s, err := tr.Subscribe(t.Context(), sub)
	require.NoError(t, err)
	return s
}

// assigned reads the next event, which must be an assignment, and returns the added
// partitions.
func assigned(t *testing.T, s driver.Session) []driver.Partition {
	t.Helper()
	e, err := s.Next(bounded(t))
	require.NoError(t, err)
	require.True(t, e.Assigned, "the assignment was lost: %v", e.Cause)
	return e.Added
}

func fetch(t *testing.T, p driver.Partition) []driver.Record {
	t.Helper()
	records, err := p.Fetch(bounded(t))
	require.NoError(t, err)
	return records
}

func payloads(records []driver.Record) []string {
	var all []string
	for _, r := range records {
		all = append(all, string(r.Payload))
	}
	return all
}

func requireCode(t *testing.T, want driver.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, driver.CodeOf(err), "%v", err)
}

func ids(partitions []driver.Partition) []int32 {
	var all []int32
	for _, p := range partitions {
		all = append(all, p.ID())
	}
	return all
}

func TestRecordEqualsPublishedMessage(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	sink := make(outcomes, 1)
	out := outgoing(bounded(t), sink, "", keyed("key"), at(when))
	out.UUID, out.Payload = "the-uuid", []byte("payload")
	out.Headers = []driver.Header{{Key: "name", Value: "value"}, {Key: "name", Value: "again"}, {Key: "a"}}
	tr.Publish([]driver.Outgoing{out})
	require.Equal(t, driver.Outcome{Partition: 0, Offset: 0}, receive(t, sink).Outcome)
	out.Payload[0], out.Headers[0].Value = 'X', "X" // the publisher can reuse its memory

	s := subscribe(t, tr, driver.Subscription{})
	records := fetch(t, assigned(t, s)[0])
	require.Equal(t, []driver.Record{{Topic: "t", Key: []byte("key"), Timestamp: when.Local(), UUID: "the-uuid",
		Headers: []driver.Header{{Key: "name", Value: "value"}, {Key: "name", Value: "again"}, {Key: "a"}}, Payload: []byte("payload")}}, records)
}

func TestNilKeyAndPayloadStayNil(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	before := time.Now().Round(0)
	sink := make(outcomes, 1)
	out := outgoing(bounded(t), sink, "")
	out.UUID, out.Payload = "", nil
	tr.Publish([]driver.Outgoing{out})
	require.NoError(t, receive(t, sink).Err)
	r := fetch(t, assigned(t, subscribe(t, tr, driver.Subscription{}))[0])[0]
	require.Nil(t, r.Key)
	require.Nil(t, r.Payload)
	require.Nil(t, r.Headers)
	require.False(t, r.Timestamp.Before(before))
	require.False(t, r.Timestamp.After(time.Now()))
}

func TestPublishRejectsInvalidMessages(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, memory.WithMaxBytes(100))
	createTopic(t, tr, 2)
	ctx := bounded(t)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	sink := make(outcomes, 6)
	batch := []driver.Outgoing{
		outgoing(ctx, sink, "a", topic("unknown")),
		outgoing(ctx, sink, "b", to(2)),
		outgoing(ctx, sink, "c", to(-2)),
		outgoing(canceled, sink, "d"),
		outgoing(ctx, sink, string(make([]byte, 101))),
		outgoing(ctx, sink, "e", to(1)),
	}
	for i := range batch {
		batch[i].Index = i
	}
	tr.Publish(batch)
	for i, want := range []driver.Code{driver.CodeNotFound, driver.CodeNotFound, driver.CodeNotFound, driver.CodeCanceled, driver.CodeTooLarge} {
		r := receive(t, sink)
		require.Equal(t, i, r.index)
		requireCode(t, want, r.Err)
		require.Equal(t, driver.Failed(r.Err), r.Outcome)
	}
	require.Equal(t, driver.Outcome{Partition: 1, Offset: 0}, receive(t, sink).Outcome, "the valid message of the batch is published")
}

func TestPartitionSelection(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 8)
	// Java: toPositive(murmur2("foobar")) % 8.
	require.EqualValues(t, 6, mustPublish(t, tr, "a", keyed("foobar")).Partition)
	require.EqualValues(t, 6, mustPublish(t, tr, "b", keyed("foobar")).Partition)
	require.EqualValues(t, 3, mustPublish(t, tr, "c", keyed("foobar"), to(3)).Partition, "a named partition takes precedence over the key")
	seen := map[int32]int{}
	for range 16 {
		seen[mustPublish(t, tr, "d").Partition]++
	}
	require.Len(t, seen, 8, "messages without a key go to the partitions in turn")
	for _, n := range seen {
		require.Equal(t, 2, n)
	}
}

func TestStartPositions(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, memory.WithMaxRecords(4))
	createTopic(t, tr, 1)
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 6 { // records 0 and 1 are dropped
		mustPublish(t, tr, string(rune('0'+i)), at(zero.Add(time.Duration(i)*time.Second)))
	}
	for name, tt := range map[string]struct {
		start driver.Start
		first string
	}{
		"oldest":        {driver.Start{Kind: driver.StartOldest}, "2"},
		"offset":        {driver.Start{Kind: driver.StartAtOffset, Offset: 4}, "4"},
		"end":           {driver.Start{Kind: driver.StartAtOffset, Offset: 6}, "new"},
		"newest":        {driver.Start{Kind: driver.StartNewest}, "new"},
		"time":          {driver.Start{Kind: driver.StartAtTime, Time: zero.Add(2500 * time.Millisecond)}, "3"},
		"exact time":    {driver.Start{Kind: driver.StartAtTime, Time: zero.Add(3 * time.Second)}, "3"},
		"before all":    {driver.Start{Kind: driver.StartAtTime, Time: zero}, "2"},
		"in the future": {driver.Start{Kind: driver.StartAtTime, Time: zero.Add(time.Hour)}, "new"},
	} {
		for _, group := range []string{"", "group of " + name} {
			other := newTransport(t, memory.WithMaxRecords(4))
			createTopic(t, other, 1)
			for i := range 6 {
				mustPublish(t, other, string(rune('0'+i)), at(zero.Add(time.Duration(i)*time.Second)))
			}
			s := subscribe(t, other, driver.Subscription{Start: tt.start, Group: group, MaxFetch: 1})
			p := assigned(t, s)[0]
			if tt.first == "new" {
				mustPublish(t, other, "new", at(zero))
			}
			require.Equal(t, []string{tt.first}, payloads(fetch(t, p)), "%s %q", name, group)
		}
	}
	for _, offset := range []int64{-1, 1, 7} {
		for _, group := range []string{"", "g"} {
			s := subscribe(t, tr, driver.Subscription{Start: driver.Start{Kind: driver.StartAtOffset, Offset: offset}, Group: group})
			_, err := s.Next(bounded(t))
			requireCode(t, driver.CodeOutOfRange, err)
		}
	}
}

func TestNewestIsCommittedBeforeAssignment(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	mustPublish(t, tr, "old")
	s := subscribe(t, tr, driver.Subscription{Group: "g", Start: driver.Start{Kind: driver.StartNewest}})
	assigned(t, s)
	next, _, ok := tr.Log().Committed("g", "t", 0)
	require.True(t, ok)
	require.EqualValues(t, 1, next)
	mustPublish(t, tr, "new")
	require.NoError(t, s.Close(t.Context()))

	s = subscribe(t, tr, driver.Subscription{Group: "g", Start: driver.Start{Kind: driver.StartNewest}})
	require.Equal(t, []string{"new"}, payloads(fetch(t, assigned(t, s)[0])), "the group misses no record, although it never fetched")
}

func TestFetchWakesEveryReader(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	got := make(chan []string, 3)
	for range 3 {
		p := assigned(t, subscribe(t, tr, driver.Subscription{}))[0]
		ctx := bounded(t)
		go func() {
			records, _ := p.Fetch(ctx)
			got <- payloads(records)
		}()
	}
	mustPublish(t, tr, "a")
	for range 3 {
		require.Equal(t, []string{"a"}, receive(t, got))
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	p := assigned(t, subscribe(t, tr, driver.Subscription{}))[0]
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := p.Fetch(ctx)
	requireCode(t, driver.CodeDeadlineExceeded, err)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	mustPublish(t, tr, "a")
	require.Equal(t, []string{"a"}, payloads(fetch(t, p)))
}

func TestSessionReadsNamedPartitions(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 4)
	require.Equal(t, []int32{1, 3}, ids(assigned(t, subscribe(t, tr, driver.Subscription{Partitions: []int32{3, 1}}))))
	_, err := subscribe(t, tr, driver.Subscription{Partitions: []int32{4}}).Next(bounded(t))
	requireCode(t, driver.CodeNotFound, err)
	_, err = tr.Subscribe(t.Context(), driver.Subscription{Topic: "t", Group: "g", Partitions: []int32{1}})
	requireCode(t, driver.CodeInvalidArgument, err)
}

func TestCommitAppliesOnlyToGroups(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	for _, m := range []string{"a", "b", "c"} {
		mustPublish(t, tr, m)
	}
	reader := assigned(t, subscribe(t, tr, driver.Subscription{}))[0]
	require.NoError(t, reader.Commit(t.Context(), 2, ""))

	p := assigned(t, subscribe(t, tr, driver.Subscription{Group: "g"}))[0]
	_, _, ok := tr.Log().Committed("g", "t", 0)
	require.False(t, ok)
	require.NoError(t, p.Commit(t.Context(), 2, "meta"))
	require.NoError(t, p.Commit(t.Context(), 1, "older"), "a committed offset does not move back")
	next, metadata, ok := tr.Log().Committed("g", "t", 0)
	require.True(t, ok)
	require.EqualValues(t, 2, next)
	require.Equal(t, "meta", metadata)
	requireCode(t, driver.CodeOutOfRange, p.Commit(t.Context(), 4, ""))
}
