package main

import (
	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver/partition"
	ours "github.com/trunkline/trunkline/transport/kafka"
)

const (
	partitions   = 8
	payloadBytes = 128
	// uuid is the UUID of every message. Generating UUIDs would take longer than some of the measured
	// operations, and equally long for every peer.
	uuid = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
)

func payload() []byte { return make([]byte, payloadBytes) }

func through(c *sarama.Config, d *dialer) *sarama.Config {
	c.Net.Proxy.Enable = true
	c.Net.Proxy.Dialer = d
	return c
}

// saramaDefaults returns sarama's defaults: acknowledgement by the leader, and a random partition for a
// record without a key.
func saramaDefaults(d *dialer) *sarama.Config {
	c := sarama.NewConfig()
	c.Producer.Return.Successes = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return through(c, d)
}

// saramaLikeOurs returns the configuration of our transport: idempotent, acks=all, the same partitioner.
func saramaLikeOurs(d *dialer) *sarama.Config {
	c := saramaDefaults(d)
	c.Version = sarama.V2_8_0_0
	c.Metadata.Full = false
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.MaxMessageBytes = 1_048_576
	c.Producer.Partitioner = newSticky
	c.Consumer.Return.Errors = false
	return c
}

// sticky is a simple form of the Java client's partitioner: by key, or without a key the same partition for
// each batch.
type sticky struct {
	current int32
	left    int
}

func newSticky(string) sarama.Partitioner { return &sticky{} }

func (s *sticky) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	if m.Key != nil {
		key, err := m.Key.Encode()
		return partition.ByKey(key, n), err
	}
	if s.left == 0 {
		s.current, s.left = (s.current+1)%n, 100
	}
	s.left--
	return s.current, nil
}

func (*sticky) RequiresConsistency() bool { return true }

func watermillPublisher(e *env, d *dialer) (*kafka.Publisher, error) {
	return kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: e.brokers, Marshaler: kafka.DefaultMarshaler{},
		OverwriteSaramaConfig: through(kafka.DefaultSaramaSyncPublisherConfig(), d),
	}, nil)
}

func watermillSubscriber(e *env, group string) (*kafka.Subscriber, error) {
	c := kafka.DefaultSaramaSubscriberConfig()
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: e.brokers, Unmarshaler: kafka.DefaultMarshaler{}, ConsumerGroup: group, OverwriteSaramaConfig: c,
	}, nil)
}

func franz(e *env, d *dialer, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(e.brokers...), kgo.Dialer(d.DialContext)}, opts...)...)
}

func ourKafka(e *env, d *dialer, opts ...bus.Option) (*bus.Bus, error) {
	t, err := ours.New(e.brokers, ours.WithDialer(d.DialContext))
	if err != nil {
		return nil, err
	}
	return bus.New(t, opts...)
}
