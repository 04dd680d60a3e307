package kafka_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/transport/kafka"
)

const faultTopic = "topic"

// newFaultyCluster returns a cluster of two brokers that can fail requests, with a topic.
func newFaultyCluster(t *testing.T, partitions int32) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(partitions, faultTopic))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func openReady(t *testing.T, c *kfake.Cluster, opts ...kafka.Option) *kafka.Transport {
	t.Helper()
	k := openAddrs(t, c.ListenAddrs(), opts...)
	require.NoError(t, k.Ready(testContext(t)))
	return k
}

func faultGroup(group string) driver.Subscription {
	return driver.Subscription{Topic: faultTopic, Group: group}
}

func keys(k ...kmsg.Key) []kmsg.Key { return k }

// awaitClaims waits for an assignment with at least one new claim.
func awaitClaims(t *testing.T, s driver.Session) []driver.Partition {
	t.Helper()
	for {
		if p := awaitAssigned(t, s); len(p) > 0 {
			return p
		}
	}
}

func TestCommitIsRetriedAfterATemporaryError(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]*kerr.Error{
		"coordinator loading":   kerr.CoordinatorLoadInProgress,
		"coordinator has moved": kerr.NotCoordinator,
		"new generation":        kerr.IllegalGeneration,
		"rebalance":             kerr.RebalanceInProgress,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFaultyCluster(t, 1)
			k := openReady(t, c)
			s := subscribe(t, k, faultGroup("group"))
			p := awaitClaims(t, s)[0]
			lookups := c.Fault(kfake.Fault{Keys: keys(kmsg.FindCoordinator), Observe: true, Count: -1})
			fault := c.Fault(kfake.Fault{Keys: keys(kmsg.OffsetCommit), Err: err, Count: 2})
			require.NoError(t, p.Commit(testContext(t), 3, ""))
			require.Equal(t, 2, fault.Hits())
			if err == kerr.NotCoordinator {
				require.Positive(t, lookups.Hits(), "the transport must look for the new coordinator")
			}
			require.NoError(t, p.Context().Err())
			leave(t, s, p)
		})
	}
}

func TestCommitIsNotRetriedAfterAPermanentError(t *testing.T) {
	t.Parallel()
	for want, err := range map[driver.Code]*kerr.Error{
		driver.CodePermissionDenied: kerr.GroupAuthorizationFailed,
		driver.CodeTooLarge:         kerr.OffsetMetadataTooLarge,
		driver.CodeRevoked:          kerr.UnknownMemberID,
	} {
		t.Run(err.Message, func(t *testing.T) {
			t.Parallel()
			c := newFaultyCluster(t, 1)
			s := subscribe(t, openReady(t, c), faultGroup("group"))
			p := awaitClaims(t, s)[0]
			fault := c.Fault(kfake.Fault{Keys: keys(kmsg.OffsetCommit), Err: err, Count: -1})
			require.Equal(t, want, driver.CodeOf(p.Commit(testContext(t), 3, "")))
			require.Equal(t, 1, fault.Hits())
			fault.Remove()
			require.NoError(t, p.Commit(testContext(t), 3, ""), "a failed commit must not count as committed")
			leave(t, s, p)
		})
	}
}

// An error instead of the committed offset must not be read as "no committed offset": the
// group would start again, and skip or repeat records.
func TestErrorInsteadOfTheCommittedOffsetDelaysTheAssignment(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]kfake.Fault{
		"temporary":      {Err: kerr.CoordinatorLoadInProgress},
		"not authorized": {Err: kerr.GroupAuthorizationFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFaultyCluster(t, 1)
			k := openReady(t, c)
			requirePublished(t, publish(t, k, faultTopic, anyPartition(numbered("", 4)...)...))
			s := subscribe(t, k, faultGroup("group"))
			p := awaitClaims(t, s)[0]
			require.NoError(t, p.Commit(testContext(t), 2, ""))
			leave(t, s, p)

			fault.Keys, fault.Count = keys(kmsg.OffsetFetch), 2
			faults := c.Fault(fault)
			s = subscribe(t, k, faultGroup("group"))
			p = awaitClaims(t, s)[0]
			require.Equal(t, "0002", string(fetch(t, p, 1)[0].Payload))
			require.Equal(t, 2, faults.Hits())
			leave(t, s, p)
		})
	}
}

// The error of one partition must not be read as "no committed offset" either.
func TestErrorOfOnePartitionDelaysTheAssignment(t *testing.T) {
	t.Parallel()
	c := newFaultyCluster(t, 1)
	k := openReady(t, c)
	requirePublished(t, publish(t, k, faultTopic, anyPartition(numbered("", 4)...)...))
	commitDirectly(t, c, "group", 2)
	answered := make(chan struct{})
	requests := 0
	c.ControlKey(int16(kmsg.OffsetFetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if requests++; requests == 1 {
			return nil, nil, false // sarama's own request; the second one is the transport's
		}
		partition := kmsg.NewOffsetFetchResponseTopicPartition()
		partition.Offset, partition.ErrorCode = -1, kerr.UnstableOffsetCommit.Code
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic, topic.Partitions = faultTopic, append(topic.Partitions, partition)
		res := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		res.Topics = append(res.Topics, topic)
		close(answered)
		return res, nil, true
	})
	s := subscribe(t, k, driver.Subscription{Topic: faultTopic, Group: "group", Start: driver.Start{Kind: driver.StartNewest}})
	receive(t, answered)
	p := awaitClaims(t, s)[0]
	require.Equal(t, "0002", string(fetch(t, p, 1)[0].Payload))
	leave(t, s, p)
}

// commitDirectly commits an offset without a member.
func commitDirectly(t *testing.T, c *kfake.Cluster, group string, offset int64) {
	t.Helper()
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	client, err := sarama.NewClient(c.ListenAddrs(), config)
	require.NoError(t, err)
	defer func() { assert.NoError(t, client.Close()) }()
	b, err := client.Coordinator(group)
	require.NoError(t, err)
	req := sarama.NewOffsetCommitRequest(config, group)
	req.ConsumerGroupGeneration = sarama.GroupGenerationUndefined
	req.AddBlockWithLeaderEpoch(faultTopic, 0, offset, -1, sarama.ReceiveTime, "")
	res, err := b.CommitOffset(req)
	require.NoError(t, err)
	require.Equal(t, sarama.ErrNoError, res.Errors[faultTopic][0])
}

func TestCommittedOffsetOutsideTheLogContinuesAtTheOldestRecord(t *testing.T) {
	t.Parallel()
	for name, committed := range map[string]int64{"removed by retention": 1, "beyond the end": 99} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFaultyCluster(t, 1)
			log := newLogMessages()
			k := openReady(t, c, kafka.WithLogger(slog.New(log)))
			requirePublished(t, publish(t, k, faultTopic, anyPartition(numbered("", 6)...)...))
			admin, err := sarama.NewClusterAdmin(c.ListenAddrs(), adminConfig())
			require.NoError(t, err)
			defer func() { assert.NoError(t, admin.Close()) }()
			require.NoError(t, admin.DeleteRecords(faultTopic, map[int32]int64{0: 3}))
			commitDirectly(t, c, "group", committed)

			s := subscribe(t, k, driver.Subscription{Topic: faultTopic, Group: "group", Start: driver.Start{Kind: driver.StartNewest}})
			p := awaitClaims(t, s)[0]
			require.Equal(t, numbered("", 6)[3:], payloads(fetch(t, p, 3)))
			log.await(t, "does not contain the committed offset")
			leave(t, s, p)
		})
	}
}

// A committed offset at the end of the log is in range: the next record has it.
func TestCommittedOffsetAtTheEndOfTheLogIsKept(t *testing.T) {
	t.Parallel()
	c := newFaultyCluster(t, 1)
	k := openReady(t, c)
	requirePublished(t, publish(t, k, faultTopic, anyPartition("a", "b")...))
	commitDirectly(t, c, "group", 2)
	s := subscribe(t, k, faultGroup("group"))
	p := awaitClaims(t, s)[0]
	requirePublished(t, publish(t, k, faultTopic, anyPartition("c")...))
	require.Equal(t, "c", string(fetch(t, p, 1)[0].Payload))
	leave(t, s, p)
}

func TestReaderStartsAtEachEndOfTheLog(t *testing.T) {
	t.Parallel()
	c := newFaultyCluster(t, 1)
	k := openReady(t, c)
	requirePublished(t, publish(t, k, faultTopic, anyPartition(numbered("", 4)...)...))
	admin, err := sarama.NewClusterAdmin(c.ListenAddrs(), adminConfig())
	require.NoError(t, err)
	defer func() { assert.NoError(t, admin.Close()) }()
	require.NoError(t, admin.DeleteRecords(faultTopic, map[int32]int64{0: 2}))
	start := func(offset int64) driver.Session {
		return subscribe(t, k, driver.Subscription{Topic: faultTopic, Start: driver.Start{Kind: driver.StartAtOffset, Offset: offset}})
	}
	for _, offset := range []int64{1, 5} {
		_, err := start(offset).Next(testContext(t))
		require.Equal(t, driver.CodeOutOfRange, driver.CodeOf(err), "offset %d: %v", offset, err)
	}
	oldest, end := awaitClaims(t, start(2))[0], awaitClaims(t, start(4))[0]
	require.EqualValues(t, 2, fetch(t, oldest, 1)[0].Offset)
	requirePublished(t, publish(t, k, faultTopic, anyPartition("new")...))
	require.EqualValues(t, 4, fetch(t, end, 1)[0].Offset)
}

// A reader must not skip records silently. If retention removes records that it has not
// read, its subscription ends.
func TestReaderEndsWhenRetentionRemovesItsNextRecord(t *testing.T) {
	t.Parallel()
	c := newFaultyCluster(t, 1)
	other := openReady(t, c)
	var network kafkatest.Dialer
	k := openReady(t, c, kafka.WithDialer(network.DialContext))
	seen := observe(k)
	requirePublished(t, publish(t, other, faultTopic, anyPartition("read")...))
	s := subscribe(t, k, driver.Subscription{Topic: faultTopic})
	p := awaitClaims(t, s)[0]
	fetch(t, p, 1)

	network.Cut()
	seen.await(t, driver.Disconnected)
	requirePublished(t, publish(t, other, faultTopic, anyPartition("removed", "kept")...))
	admin, err := sarama.NewClusterAdmin(c.ListenAddrs(), adminConfig())
	require.NoError(t, err)
	defer func() { assert.NoError(t, admin.Close()) }()
	require.NoError(t, admin.DeleteRecords(faultTopic, map[int32]int64{0: 2}))
	network.Restore()

	ctx := testContext(t)
	recs, err := p.Fetch(ctx)
	require.Empty(t, recs)
	require.Equal(t, driver.CodeOutOfRange, driver.CodeOf(err), "%v", err)
	_, err = s.Next(ctx)
	require.Equal(t, driver.CodeOutOfRange, driver.CodeOf(err), "%v", err)
}

// The leader of a partition can move between the metadata request and the request for
// offsets.
func TestOffsetsAreRequestedAgainAfterTheLeaderHasMoved(t *testing.T) {
	t.Parallel()
	c := newFaultyCluster(t, 1)
	log := newLogMessages()
	k := openReady(t, c, kafka.WithLogger(slog.New(log)))
	requirePublished(t, publish(t, k, faultTopic, anyPartition("old")...))
	fault := c.Fault(kfake.Fault{Keys: keys(kmsg.ListOffsets), Err: kerr.NotLeaderForPartition})
	s := subscribe(t, k, driver.Subscription{Topic: faultTopic, Start: driver.Start{Kind: driver.StartNewest}})
	p := awaitClaims(t, s)[0]
	require.Equal(t, 1, fault.Hits())
	requirePublished(t, publish(t, k, faultTopic, anyPartition("new")...))
	require.Equal(t, "new", string(fetch(t, p, 1)[0].Payload))
	require.Zero(t, log.count("failed"), "the first attempt of the session must succeed")
}

// A new topic appears in the metadata of one broker after the other.
func TestTopicThatBrokersDoNotKnowYetIsUsed(t *testing.T) {
	t.Parallel()
	use := map[string]func(t *testing.T, k *kafka.Transport){
		"publish": func(t *testing.T, k *kafka.Transport) {
			requirePublished(t, publish(t, k, faultTopic, anyPartition("x")...))
		},
		"group": func(t *testing.T, k *kafka.Transport) {
			s := subscribe(t, k, faultGroup("group"))
			leave(t, s, awaitClaims(t, s)...)
		},
		"reader": func(t *testing.T, k *kafka.Transport) {
			awaitClaims(t, subscribe(t, k, driver.Subscription{Topic: faultTopic}))
		},
	}
	for name, use := range use {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFaultyCluster(t, 1)
			k := openReady(t, c)
			// sarama makes two attempts for each request of the transport.
			fault := c.Fault(kfake.Fault{Keys: keys(kmsg.Metadata), Topic: faultTopic, Err: kerr.UnknownTopicOrPartition, Count: 5})
			use(t, k)
			require.Equal(t, 5, fault.Hits())
		})
	}
}

// A topic that is deleted and created again must not stay unknown to the producer.
func TestProducerLooksUpATopicAgainAfterNotFound(t *testing.T) {
	t.Parallel()
	c := newFaultyCluster(t, 1)
	k := openReady(t, c)
	requirePublished(t, publish(t, k, faultTopic, anyPartition("x")...))
	ctx := testContext(t)
	require.NoError(t, k.DeleteTopic(ctx, faultTopic))
	for range 6 { // sarama's circuit breaker opens after three errors
		began := time.Now()
		require.Equal(t, driver.CodeNotFound, driver.CodeOf(publish(t, k, faultTopic, anyPartition("x")...)[0].Err))
		t.Logf("failed after %v", time.Since(began))
	}
	require.NoError(t, k.CreateTopic(ctx, driver.TopicSpec{Name: faultTopic, Partitions: 1}))
	requirePublished(t, publish(t, k, faultTopic, anyPartition("x")...))
}

// While the transport is disconnected for longer than the session time-out, the group has
// removed the member. Its claims must end, because other members process the records.
func TestClaimsEndAfterASessionTimeoutWithoutConnection(t *testing.T) {
	t.Parallel()
	r := setup(t, 1, kafka.WithTimeouts(kafka.Timeouts{Session: 6 * time.Second}))
	s := subscribe(t, r, driver.Subscription{Topic: r.topic, Group: r.topic})
	p := awaitClaims(t, s)[0]
	seen := observe(r)
	r.net.Cut()
	lost := seen.await(t, driver.Disconnected)
	receive(t, p.Context().Done())
	require.Equal(t, driver.CodeRevoked, driver.CodeOf(context.Cause(p.Context())))
	require.Less(t, time.Since(lost.Since), 6*time.Second+testTimeout/4)
	p.Release()
	r.net.Restore()
	leave(t, s, awaitClaims(t, s)...)
}

// sarama's producer fails the messages that it retries when it is closed. Close therefore
// waits until every message has its outcome.
func TestCloseWaitsForMessagesThatAreRetried(t *testing.T) {
	t.Parallel()
	c := newFaultyCluster(t, 1)
	k := openReady(t, c)
	requirePublished(t, publish(t, k, faultTopic, anyPartition("first")...))
	fault := c.Fault(kfake.Fault{Keys: keys(kmsg.Produce), Topic: faultTopic, Err: kerr.NotEnoughReplicas, Count: 6})
	outs, s := batch(testContext(t), faultTopic, anyPartition("retried")...)
	k.Publish(outs)
	require.NoError(t, fault.Wait(testContext(t), 1))
	require.NoError(t, k.Close(testContext(t)))
	requirePublished(t, s.wait())
	require.Equal(t, 6, fault.Hits())
}
