package kafka_test

import (
	"errors"
	"testing"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestWatermillKafkaReadsOurRecords(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	cfg := wmkafka.DefaultSaramaSubscriberConfig()
	cfg.Version = sarama.V2_8_0_0
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	other, err := wmkafka.NewSubscriber(wmkafka.SubscriberConfig{
		Brokers: r.broker.Addrs(), Unmarshaler: wmkafka.DefaultMarshaler{}, ConsumerGroup: kafkatb.Name(t), OverwriteSaramaConfig: cfg,
	}, watermill.NopLogger{})
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	requirePublished(t, publish(t, r, r.topic, item{
		uuid: "id-1", key: "k", payload: "p",
		meta: map[string]string{"a": "1", "b": ""},
	}))
	messages, err := other.Subscribe(testContext(t), r.topic)
	require.NoError(t, err)
	m := receive(t, messages)
	require.Equal(t, "id-1", m.UUID)
	require.Equal(t, "p", string(m.Payload))
	require.Equal(t, message.Metadata{"a": "1", "b": ""}, m.Metadata)
	key, ok := wmkafka.MessageKeyFromCtx(m.Context())
	require.True(t, ok)
	require.Equal(t, "k", string(key))
	m.Ack()
}

func TestWatermillKafkaRecordsAreRead(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	cfg := wmkafka.DefaultSaramaSyncPublisherConfig()
	cfg.Version = sarama.V2_8_0_0
	other, err := wmkafka.NewPublisher(wmkafka.PublisherConfig{
		Brokers: r.broker.Addrs(), OverwriteSaramaConfig: cfg,
		Marshaler: wmkafka.NewWithPartitioningMarshaler(func(_ string, m *message.Message) (string, error) { return m.Metadata.Get("a"), nil }),
	}, watermill.NopLogger{})
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	m := message.NewMessage("id-2", []byte("p"))
	m.Metadata.Set("a", "1")
	require.NoError(t, other.Publish(r.topic, m))
	rec := fetch(t, awaitAssigned(t, subscribe(t, r, driver.Subscription{Topic: r.topic}))[0], 1)[0]
	require.Equal(t, "id-2", rec.UUID)
	require.Equal(t, "p", string(rec.Payload))
	require.Equal(t, "1", string(rec.Key))
	require.Equal(t, []driver.Header{{Key: "a", Value: "1"}}, rec.Headers)
	require.NoError(t, rec.DecodeErr)
}

func TestDefaultFormatIsThatOfDefaultMarshaler(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	same := open(t, r.broker, kafka.WithMarshaler(wmkafka.DefaultMarshaler{}))
	it := item{uuid: "id", key: "k", payload: "p", meta: map[string]string{"only": "one"}}
	requirePublished(t, publish(t, r, r.topic, it))
	requirePublished(t, publish(t, same, r.topic, it))
	requirePublished(t, publish(t, r, r.topic, item{uuid: "empty"}))
	requirePublished(t, publish(t, same, r.topic, item{uuid: "empty"}))
	recs := fetch(t, awaitAssigned(t, subscribe(t, open(t, r.broker, kafka.WithMarshaler(undecodableMarshaler{})), driver.Subscription{Topic: r.topic}))[0], 4)
	for _, pair := range [][2]driver.Record{{recs[0], recs[1]}, {recs[2], recs[3]}} {
		require.Equal(t, pair[0].Headers, pair[1].Headers)
		require.Equal(t, pair[0].Payload, pair[1].Payload)
		require.Equal(t, pair[0].Key, pair[1].Key)
		require.Equal(t, kafka.UUIDHeader, pair[0].Headers[0].Key)
	}
}

// undecodableMarshaler decodes nothing, so that a fetch returns the record unchanged.
type undecodableMarshaler struct{ kafka.RawMarshaler }

func (undecodableMarshaler) Unmarshal(*sarama.ConsumerMessage) (*message.Message, error) {
	return nil, errors.New("decodes nothing")
}

// panickingMarshaler panics on some payloads.
type panickingMarshaler struct{ kafka.RawMarshaler }

func (panickingMarshaler) Marshal(topic string, m *message.Message) (*sarama.ProducerMessage, error) {
	if string(m.Payload) == "panic" {
		panic("marshal")
	}
	return kafka.RawMarshaler{}.Marshal(topic, m)
}

func (panickingMarshaler) Unmarshal(in *sarama.ConsumerMessage) (*message.Message, error) {
	if string(in.Value) == "poison" {
		panic("unmarshal")
	}
	return kafka.RawMarshaler{}.Unmarshal(in)
}

func TestPanicOfATopicMarshalerIsAnError(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	k := open(t, r.broker, kafka.WithTopicMarshaler(r.topic, panickingMarshaler{}))
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(publish(t, k, r.topic, item{payload: "panic"})[0].Err))
	requirePublished(t, publish(t, k, r.topic, item{uuid: "x", payload: "poison", key: "k"}, item{uuid: "x", payload: "good"}))
	requirePublished(t, publish(t, r, r.topic, item{uuid: "y", payload: "poison", meta: map[string]string{"a": "1"}}))
	recs := fetch(t, awaitAssigned(t, subscribe(t, k, driver.Subscription{Topic: r.topic}))[0], 3)
	require.Equal(t, driver.CodeUndecodable, driver.CodeOf(recs[0].DecodeErr))
	require.Equal(t, "poison", string(recs[0].Payload))
	require.Equal(t, "k", string(recs[0].Key))
	require.Empty(t, recs[0].Headers, "the record has no headers")
	require.NoError(t, recs[1].DecodeErr)
	require.Equal(t, "good", string(recs[1].Payload))
	require.Empty(t, recs[1].UUID)
	require.Error(t, recs[2].DecodeErr)
	require.Equal(t, []driver.Header{{Key: kafka.UUIDHeader, Value: "y"}, {Key: "a", Value: "1"}}, recs[2].Headers)

	// A record without a UUID, from a publisher that does not use watermill, is valid.
	recs = fetch(t, awaitAssigned(t, subscribe(t, r, driver.Subscription{Topic: r.topic}))[0], 1)
	require.NoError(t, recs[0].DecodeErr)
	require.Empty(t, recs[0].UUID)
}
