package kafka_test

import (
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestReadCommittedSkipsAbortedTransactions(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Transaction.ID = topic
	config.Producer.Return.Successes = true
	p, err := sarama.NewSyncProducer(b.Addrs(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	send := func(payload string, end func() error) {
		require.NoError(t, p.BeginTxn())
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(payload)})
		require.NoError(t, err)
		require.NoError(t, end())
	}
	send("aborted", p.AbortTxn)
	send("committed", p.CommitTxn)

	first := func(opts ...kafka.Option) string {
		k := open(t, b, opts...)
		s := subscribe(t, k, driver.Subscription{Topic: topic, Start: driver.Start{Kind: driver.StartOldest}})
		return string(fetch(t, awaitAssigned(t, s)[0], 1)[0].Payload)
	}
	require.Equal(t, "aborted", first())
	require.Equal(t, "committed", first(kafka.WithReadCommitted()))
}

// The broker decides which replica a rack means, so the test only checks that sarama gets
// the rack.
func TestRackIsPassedToSarama(t *testing.T) {
	t.Parallel()
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	var rack atomic.Value
	k := open(t, b, kafka.WithRack("eu-1a"), kafka.WithSaramaConfig(func(c *sarama.Config) { rack.Store(c.RackID) }))
	requirePublished(t, publish(t, k, topic, anyPartition("near")...))
	s := subscribe(t, k, driver.Subscription{Topic: topic, Start: driver.Start{Kind: driver.StartOldest}})
	require.Equal(t, "near", string(fetch(t, awaitAssigned(t, s)[0], 1)[0].Payload))
	require.Equal(t, "eu-1a", rack.Load())
}
