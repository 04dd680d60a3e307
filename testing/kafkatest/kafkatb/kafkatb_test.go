package kafkatb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/internal/freeport"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const limit = 2 * time.Minute

var versions = []sarama.KafkaVersion{sarama.V2_8_0_0, sarama.V3_3_0_0, sarama.V3_6_0_0}

func config(v sarama.KafkaVersion) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = v
	c.Metadata.AllowAutoTopicCreation = false
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Net.MaxOpenRequests = 1
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Return.Errors = true
	return c
}

func publish(t *testing.T, addrs []string, c *sarama.Config, topic string, n int) {
	t.Helper()
	p, err := sarama.NewSyncProducer(addrs, c)
	require.NoError(t, err)
	for i := range n {
		_, _, err := p.SendMessage(&sarama.ProducerMessage{
			Topic:   topic,
			Key:     sarama.StringEncoder(fmt.Sprint(i)),
			Value:   sarama.StringEncoder(fmt.Sprint(i)),
			Headers: []sarama.RecordHeader{{Key: []byte("n"), Value: []byte(fmt.Sprint(i))}},
		})
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
}

// collect is a consumer group handler that ends its session after n messages.
type collect struct {
	n    int
	got  chan *sarama.ConsumerMessage
	stop context.CancelFunc
}

func (*collect) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*collect) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *collect) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			h.got <- m
			s.MarkMessage(m, "")
			if len(h.got) == h.n {
				h.stop()
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

// consume reads n messages from topic as a member of group and commits them.
func consume(t *testing.T, addrs []string, c *sarama.Config, group, topic string, n int) []*sarama.ConsumerMessage {
	t.Helper()
	g, err := sarama.NewConsumerGroup(addrs, group, c)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	h := &collect{n: n, got: make(chan *sarama.ConsumerMessage, 2*n), stop: cancel}
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{topic}, h); err != nil && ctx.Err() == nil {
			t.Logf("consume: %v", err)
		}
	}
	require.ErrorIs(t, ctx.Err(), context.Canceled, "time ran out after %d of %d messages", len(h.got), n)
	require.NoError(t, g.Close())
	close(h.got)
	var got []*sarama.ConsumerMessage
	for m := range h.got {
		got = append(got, m)
	}
	return got
}

func TestSaramaWorksWithTheBroker(t *testing.T) {
	t.Parallel()
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			b := kafkatb.New(t)

			t.Run("publish and read a partition", func(t *testing.T) {
				t.Parallel()
				c := config(v)
				topic := kafkatb.Topic(t, b, 1)
				publish(t, b.Addrs(), c, topic, 20)

				reader, err := sarama.NewConsumer(b.Addrs(), c)
				require.NoError(t, err)
				defer reader.Close()
				pc, err := reader.ConsumePartition(topic, 0, sarama.OffsetOldest)
				require.NoError(t, err)
				defer pc.Close()
				for i := range 20 {
					select {
					case m := <-pc.Messages():
						require.EqualValues(t, i, m.Offset)
						require.Equal(t, fmt.Sprint(i), string(m.Value))
						require.Equal(t, fmt.Sprint(i), string(m.Headers[0].Value))
					case err := <-pc.Errors():
						require.NoError(t, err)
					case <-time.After(limit):
						require.FailNow(t, "no message")
					}
				}
			})

			for _, strategy := range []sarama.BalanceStrategy{
				sarama.NewBalanceStrategyRange(),
				sarama.NewBalanceStrategySticky(),
				sarama.NewBalanceStrategyCooperativeSticky(),
			} {
				t.Run("group "+strategy.Name(), func(t *testing.T) {
					t.Parallel()
					c := config(v)
					c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
					topic, group := kafkatb.Topic(t, b, 4), kafkatb.Name(t)
					publish(t, b.Addrs(), c, topic, 20)
					require.Len(t, consume(t, b.Addrs(), c, group, topic, 20), 20)

					// The next member starts at the committed offset.
					publish(t, b.Addrs(), c, topic, 5)
					require.Len(t, consume(t, b.Addrs(), c, group, topic, 5), 5)
				})
			}
		})
	}
}

func TestUnknownTopicIsNotCreated(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	c := config(sarama.V3_6_0_0)
	c.Metadata.AllowAutoTopicCreation = true // the broker must ignore it
	c.Metadata.Retry.Max = 1
	client, err := sarama.NewClient(b.Addrs(), c)
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Partitions(kafkatb.Name(t))
	require.ErrorIs(t, err, sarama.ErrUnknownTopicOrPartition)
}

func TestReadCommittedSkipsAbortedTransactions(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	c := config(sarama.V3_6_0_0)
	c.Producer.Transaction.ID = kafkatb.Name(t)
	p, err := sarama.NewSyncProducer(b.Addrs(), c)
	require.NoError(t, err)
	transact := func(value string, end func() error) {
		require.NoError(t, p.BeginTxn())
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)})
		require.NoError(t, err)
		require.NoError(t, end())
	}
	transact("aborted", p.AbortTxn)
	transact("committed", p.CommitTxn)
	require.NoError(t, p.Close())

	c = config(sarama.V3_6_0_0)
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	got := consume(t, b.Addrs(), c, kafkatb.Name(t), topic, 1)
	require.Len(t, got, 1)
	require.Equal(t, "committed", string(got[0].Value))
}

func TestDeletedTopicBecomesUnknown(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	topic := kafkatb.Name(t)
	require.NoError(t, b.CreateTopic(ctx, topic, 1))
	require.NoError(t, b.DeleteTopic(ctx, topic))
	require.Eventually(t, func() bool {
		client, err := sarama.NewClient(b.Addrs(), config(sarama.V3_6_0_0))
		if err != nil {
			return false
		}
		defer client.Close()
		_, err = client.Partitions(topic)
		return errors.Is(err, sarama.ErrUnknownTopicOrPartition)
	}, limit, 20*time.Millisecond)
}

func TestTopicCanBeCreatedOnceAndGrow(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	topic := kafkatb.Topic(t, b, 2)
	require.ErrorIs(t, b.CreateTopic(ctx, topic, 2), sarama.ErrTopicAlreadyExists)
	require.NoError(t, b.AddPartitions(ctx, topic, 5))

	client, err := sarama.NewClient(b.Addrs(), config(sarama.V3_6_0_0))
	require.NoError(t, err)
	defer client.Close()
	partitions, err := client.Partitions(topic)
	require.NoError(t, err)
	require.Len(t, partitions, 5)
}

func TestCutFailsSaramaUntilRestore(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	var d kafkatest.Dialer
	c := config(sarama.V3_6_0_0)
	c.Net.Proxy.Enable = true
	c.Net.Proxy.Dialer = &d
	c.Producer.Retry.Max = 0
	c.Producer.Idempotent = false
	c.Metadata.Retry.Max = 0
	p, err := sarama.NewSyncProducer(b.Addrs(), c)
	require.NoError(t, err)
	defer p.Close()
	send := func() error {
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("x")})
		return err
	}
	require.NoError(t, send())
	require.Positive(t, d.Conns())

	d.Cut()
	require.Error(t, send())
	require.Zero(t, d.Conns())

	d.Restore()
	require.Eventually(t, func() bool { return send() == nil }, limit, 20*time.Millisecond)
}

func TestNameIsUniqueAndLegal(t *testing.T) {
	t.Parallel()
	t.Run("illegal für a topic/"+fmt.Sprintf("%0150d", 0), func(t *testing.T) {
		a, b := kafkatb.Name(t), kafkatb.Name(t)
		require.NotEqual(t, a, b)
		require.Regexp(t, `^[a-zA-Z0-9._-]{1,249}$`, a)
	})
}

func TestAttachChecksTheCluster(t *testing.T) {
	t.Parallel()
	port, err := freeport.Loopback() // no other broker gets this port after this one has stopped
	require.NoError(t, err)
	own := kafkatb.Embedded(t, kafkatest.WithPort(port), kafkatest.WithTopics(1, "taken"))
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()

	b, err := kafkatest.Attach(ctx, own.Addrs(), kafkatest.WithDefaultPartitions(3), kafkatest.WithTopics(0, "mine"))
	require.NoError(t, err)
	require.False(t, b.Embedded())
	require.NoError(t, b.Close())
	require.ErrorIs(t, own.CreateTopic(ctx, "mine", 1), sarama.ErrTopicAlreadyExists)

	_, err = kafkatest.Attach(ctx, own.Addrs(), kafkatest.WithTopics(1, "taken"))
	require.ErrorIs(t, err, sarama.ErrTopicAlreadyExists)
	_, err = kafkatest.Attach(ctx, own.Addrs(), kafkatest.WithBrokers(2))
	require.ErrorIs(t, err, kafkatest.ErrUnsuitable)
	_, err = kafkatest.Attach(ctx, own.Addrs(), kafkatest.WithAutoCreate())
	require.ErrorIs(t, err, kafkatest.ErrUnsuitable)

	own.Close()
	_, err = kafkatest.Attach(ctx, own.Addrs())
	require.Error(t, err)
	require.NotErrorIs(t, err, kafkatest.ErrUnsuitable)
}
