package kafka_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestPublishReturnsPartitionAndOffset(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	for i, o := range publish(t, r, r.topic, anyPartition("a", "b", "c")...) {
		require.NoError(t, o.Err)
		require.Equal(t, driver.Outcome{Partition: 0, Offset: int64(i)}, o)
	}
	require.Equal(t, int64(3), publish(t, r, r.topic, anyPartition("d")...)[0].Offset)
}

func TestPublishRejectsWrongMessages(t *testing.T) {
	t.Parallel()
	r := setup(t, 2)
	began := time.Now()
	require.Equal(t, driver.CodeNotFound, driver.CodeOf(publish(t, r, kafkatb.Name(t), anyPartition("x")...)[0].Err))
	t.Logf("unknown topic: %v", time.Since(began))
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(publish(t, r, r.topic, item{partition: 2})[0].Err))
	require.Equal(t, driver.CodeTooLarge, driver.CodeOf(publish(t, r, r.topic,
		item{partition: driver.AnyPartition, payload: string(make([]byte, 2<<20))})[0].Err))
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(publish(t, r, r.topic,
		item{partition: driver.AnyPartition, meta: map[string]string{kafka.UUIDHeader: "mine"}})[0].Err))
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(publish(t, r, "", anyPartition("x")...)[0].Err))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	outs, s := batch(ctx, r.topic, anyPartition("x")...)
	r.Publish(outs)
	require.Equal(t, driver.CodeCanceled, driver.CodeOf(s.wait()[0].Err))

	// A wrong message does not affect the others.
	outs, s = batch(testContext(t), r.topic, item{partition: 1, payload: "a"}, item{partition: 7}, item{partition: 1, payload: "b"})
	r.Publish(outs)
	got := s.wait()
	require.NoError(t, got[0].Err)
	require.Error(t, got[1].Err)
	require.NoError(t, got[2].Err)
	require.Equal(t, []int{1, 1, 1}, s.n)
}

func TestReaderReceivesEverythingPublishedAfterItsAssignment(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	requirePublished(t, publish(t, r, r.topic, anyPartition("before")...))
	for range 20 {
		s := subscribe(t, r, driver.Subscription{Topic: r.topic, Start: driver.Start{Kind: driver.StartNewest}})
		p := awaitAssigned(t, s)
		require.Len(t, p, 1)
		want := publish(t, r, r.topic, anyPartition("now")...)
		requirePublished(t, want)
		got := fetch(t, p[0], 1)
		require.Equal(t, want[0].Offset, got[0].Offset)
		require.NoError(t, s.Close(testContext(t)))
	}
}

func TestReaderBeginsAtItsStart(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	base := time.Now().Add(-4 * time.Hour).Truncate(time.Second) // a broker can remove records that are older than a week
	var items []item
	for i, p := range numbered("", 5) {
		items = append(items, item{payload: p, partition: 0, at: base.Add(time.Duration(i) * time.Minute)})
	}
	requirePublished(t, publish(t, r, r.topic, items...))
	for name, c := range map[string]struct {
		start driver.Start
		first string
	}{
		"oldest":         {driver.Start{Kind: driver.StartOldest}, "0000"},
		"offset":         {driver.Start{Kind: driver.StartAtOffset, Offset: 3}, "0003"},
		"time":           {driver.Start{Kind: driver.StartAtTime, Time: base.Add(90 * time.Second)}, "0002"},
		"time after all": {driver.Start{Kind: driver.StartAtTime, Time: base.Add(time.Hour)}, "last"},
	} {
		s := subscribe(t, r, driver.Subscription{Topic: r.topic, Start: c.start})
		p := awaitAssigned(t, s)
		if c.first == "last" {
			requirePublished(t, publish(t, r, r.topic, item{payload: "last", at: base.Add(2 * time.Hour)}))
		}
		require.Equal(t, c.first, string(fetch(t, p[0], 1)[0].Payload), name)
	}
	_, err := subscribe(t, r, driver.Subscription{
		Topic: r.topic, Start: driver.Start{Kind: driver.StartAtOffset, Offset: 99},
	}).Next(testContext(t))
	require.Equal(t, driver.CodeOutOfRange, driver.CodeOf(err))
	_, err = subscribe(t, r, driver.Subscription{Topic: r.topic, Partitions: []int32{4}}).Next(testContext(t))
	require.Equal(t, driver.CodeNotFound, driver.CodeOf(err))
}

func TestReaderReadsNewPartitionsFromTheirBeginning(t *testing.T) {
	t.Parallel()
	r := setup(t, 1, kafka.WithTimeouts(kafka.Timeouts{Refresh: 100 * time.Millisecond}))
	s := subscribe(t, r, driver.Subscription{Topic: r.topic, Start: driver.Start{Kind: driver.StartNewest}})
	require.Len(t, awaitAssigned(t, s), 1)
	require.NoError(t, r.broker.AddPartitions(testContext(t), r.topic, 2))
	var out driver.Outcome
	require.Eventually(t, func() bool {
		out = publish(t, r, r.topic, item{partition: 1, payload: "new"})[0]
		return out.Err == nil
	}, testTimeout, 50*time.Millisecond)
	added := awaitAssigned(t, s)
	require.Len(t, added, 1)
	require.EqualValues(t, 1, added[0].ID())
	require.Equal(t, "new", string(fetch(t, added[0], 1)[0].Payload))
}

func TestUnknownTopicEndsTheSession(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	for _, group := range []string{"", kafkatb.Name(t)} {
		s := subscribe(t, r, driver.Subscription{Topic: kafkatb.Name(t), Group: group})
		began := time.Now()
		_, err := s.Next(testContext(t))
		t.Logf("group %q: %v", group, time.Since(began))
		require.Equal(t, driver.CodeNotFound, driver.CodeOf(err), "%v", err)
	}
}

func TestSubscribeRejectsWrongSubscriptions(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	for name, s := range map[string]driver.Subscription{
		"no topic":             {},
		"group and partitions": {Topic: "a", Group: "g", Partitions: []int32{0}},
		"negative offset":      {Topic: "a", Start: driver.Start{Kind: driver.StartAtOffset, Offset: -2}},
	} {
		_, err := r.Subscribe(t.Context(), s)
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err), name)
	}
}

func TestTransportConnectsToABrokerThatStartsLater(t *testing.T) {
	t.Parallel()
	addr, port := unusedAddr(t)
	k, err := kafka.New([]string{addr}, kafka.WithReconnect(20*time.Millisecond, 100*time.Millisecond))
	require.NoError(t, err)
	defer func() { require.NoError(t, k.Close(testContext(t))) }()
	seen := observe(k)
	seen.await(t, driver.Disconnected)
	require.Equal(t, driver.CodeUnavailable, driver.CodeOf(k.Ping(testContext(t))))
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Equal(t, driver.CodeUnavailable, driver.CodeOf(k.Ready(short)))

	s := subscribe(t, k, driver.Subscription{Topic: "later", Start: driver.Start{Kind: driver.StartOldest}})
	kafkatb.Embedded(t, kafkatest.WithPort(port), kafkatest.WithTopics(1, "later"))
	require.NoError(t, k.Ready(testContext(t)))
	requirePublished(t, publish(t, k, "later", anyPartition("x")...))
	require.Equal(t, "x", string(fetch(t, awaitAssigned(t, s)[0], 1)[0].Payload))
	seen.await(t, driver.Connected)
}

func TestCloseIsIdempotentAndEndsSessions(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	s := subscribe(t, r, driver.Subscription{Topic: r.topic})
	p := awaitAssigned(t, s)
	g := subscribe(t, r, driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t)})
	awaitAssigned(t, g)
	ctx := testContext(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { assert.NoError(t, r.Close(ctx)) })
	}
	wg.Wait()
	_, err := p[0].Fetch(testContext(t))
	require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
	for _, session := range []driver.Session{s, g} {
		_, err = session.Next(testContext(t))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
	}
	_, err = r.Subscribe(t.Context(), driver.Subscription{Topic: r.topic})
	require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
	require.Equal(t, driver.CodeClosed, driver.CodeOf(publish(t, r, r.topic, anyPartition("x")...)[0].Err))
	require.Equal(t, driver.CodeClosed, driver.CodeOf(r.Ping(testContext(t))))
	require.Equal(t, driver.CodeClosed, driver.CodeOf(r.Ready(testContext(t))))
}

func TestPublishDuringCloseCompletesEveryMessage(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 2)
	for range 10 {
		k, err := kafka.New(b.Addrs())
		require.NoError(t, err)
		require.NoError(t, k.Ready(testContext(t)))
		requirePublished(t, publish(t, k, topic, anyPartition("first")...))
		var wg sync.WaitGroup
		var sinks []*sink
		for range 8 {
			outs, s := batch(testContext(t), topic, anyPartition(numbered("", 50)...)...)
			sinks = append(sinks, s)
			wg.Go(func() { k.Publish(outs) })
		}
		require.NoError(t, k.Close(testContext(t)))
		wg.Wait()
		for _, s := range sinks {
			for i, o := range s.wait() {
				require.Equal(t, 1, s.n[i])
				if o.Err != nil {
					require.Equal(t, driver.CodeClosed, driver.CodeOf(o.Err), "%v", o.Err)
				}
			}
		}
	}
}

func TestAdminManagesTopics(t *testing.T) {
	t.Parallel()
	r := setup(t, 3)
	ctx := testContext(t)
	name := kafkatb.Name(t)
	require.NoError(t, r.CreateTopic(ctx, driver.TopicSpec{Name: name, Partitions: 4, Config: map[string]string{"retention.ms": "60000"}}))
	require.Equal(t, driver.CodeAlreadyExists, driver.CodeOf(r.CreateTopic(ctx, driver.TopicSpec{Name: name})))
	info, err := r.DescribeTopic(ctx, name)
	require.NoError(t, err)
	require.Equal(t, name, info.Name)
	require.EqualValues(t, 4, info.Partitions)
	require.Len(t, info.Layout, 4)
	for i, p := range info.Layout {
		require.EqualValues(t, i, p.ID)
		require.Contains(t, p.Replicas, p.Leader)
		require.Equal(t, p.Replicas, p.InSync)
	}
	require.Equal(t, "60000", info.Config["retention.ms"])
	require.NoError(t, r.AddPartitions(ctx, name, 6))
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(r.AddPartitions(ctx, name, 6)))
	require.Equal(t, driver.CodeNotFound, driver.CodeOf(r.AddPartitions(ctx, kafkatb.Name(t), 6)))
	requirePublished(t, publish(t, r, name, item{partition: 5, payload: "y"}))
	topics, err := r.ListTopics(ctx)
	require.NoError(t, err)
	require.Contains(t, topics, name)
	require.Contains(t, topics, r.topic)
	requirePublished(t, publish(t, r, name, item{partition: 3, payload: "x"}))
	require.NoError(t, r.DeleteTopic(ctx, name))
	require.Equal(t, driver.CodeNotFound, driver.CodeOf(r.DeleteTopic(ctx, name)))
	_, err = r.DescribeTopic(ctx, name)
	require.Equal(t, driver.CodeNotFound, driver.CodeOf(err))
	require.Equal(t, driver.CodeNotFound, driver.CodeOf(publish(t, r, name, item{payload: "x"})[0].Err))
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(r.CreateTopic(ctx, driver.TopicSpec{Name: "no spaces"})))
}
