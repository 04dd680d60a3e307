package kafka_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	watermillkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/testing/transporttest"
	"github.com/trunkline/trunkline/transport/kafka"
)

// Not parallel, like the others here: some scenarios count goroutines.
func TestConformance(t *testing.T) {
	h := harness()
	const waits = "NextOwnerWaitsForTheLastOnesHandlers"
	if h.Except == nil {
		h.Except = map[string]string{}
	}
	h.Except[waits] = "here a claim is not waited for longer than 9 s, which may pass on a busy machine; TestConformanceOfGroups waits"
	transporttest.Run(t, h)
}

// TestConformanceOfGroups runs what is about groups by each protocol in which members
// share partitions, and with a rebalance time-out above the suite's testTimeout: a claim
// that is not let go is not just waited out. Members that die are for TestConformance:
// while a group rebalances, the embedded broker waits so long for them as well.
func TestConformanceOfGroups(t *testing.T) {
	for name, balance := range map[string]kafka.Balance{
		"cooperative-sticky": kafka.CooperativeSticky, "sticky": kafka.Sticky, "range": kafka.Range,
	} {
		t.Run(name, func(t *testing.T) {
			h := harness(kafka.WithBalance(balance), kafka.WithTimeouts(kafka.Timeouts{Rebalance: 2 * testTimeout}))
			h.Only = slices.DeleteFunc(transporttest.Rebalances(), func(s string) bool { return s == "MembersDieUnderLoad" })
			transporttest.Run(t, h)
		})
	}
}

// Members die where all give everything up at a rebalance, too.
func TestConformanceOfDyingEagerMembers(t *testing.T) {
	h := harness(kafka.WithBalance(kafka.Range))
	h.Only = []string{"MembersDieUnderLoad"}
	transporttest.Run(t, h)
}

// The programs that are run on the in-memory log, a few of them.
func TestRandomProgramsOverABus(t *testing.T) {
	t.Parallel()
	transporttest.RunPrograms(t, harness(), 6)
}

// TestConformanceOfUndecodableRecords has a marshaler that refuses records. The default
// one takes any.
func TestConformanceOfUndecodableRecords(t *testing.T) {
	h := harness(kafka.WithMarshaler(strict{}))
	h.Only = []string{"UndecodableRecordBecomesADeadLetter", "UndecodableRecordEndsASubscriptionWithoutDeadLetters"}
	h.Undecodable = undecodable
	transporttest.Run(t, h)
}

// link is what the harness has to know of a transport.
type link struct {
	broker *kafkatest.Broker
	net    *kafkatest.Dialer
}

var links sync.Map // driver.Transport → link

func linkOf(t *testing.T, tr driver.Transport) link {
	l, ok := links.Load(tr)
	require.True(t, ok)
	return l.(link)
}

// beyondEmbedded are the scenarios that need a real broker.
func beyondEmbedded() map[string]string {
	if kafkatb.IsReal() {
		return nil
	}
	return map[string]string{"MembersDieUnderLoad": "the embedded broker keeps, for ever, a member that dies between the answer to its JoinGroup and its SyncGroup: " +
		"its partitions are nobody's. This needs a real broker"}
}

func harness(opts ...kafka.Option) transporttest.Harness {
	return transporttest.Harness{
		Patience: testTimeout,
		New: func(t *testing.T) transporttest.Connect {
			broker := kafkatb.New(t)
			return func(t *testing.T) driver.Transport {
				l := link{broker, &kafkatest.Dialer{}}
				k, err := kafka.New(broker.Addrs(), append([]kafka.Option{kafka.WithDialer(l.net.DialContext),
					kafka.WithTimeouts(kafka.Timeouts{Session: 6 * time.Second, Rebalance: 10 * time.Second, Refresh: 500 * time.Millisecond})}, opts...)...)
				require.NoError(t, err)
				links.Store(driver.Transport(k), l)
				t.Cleanup(func() { links.Delete(driver.Transport(k)) })
				return k
			}
		},
		Except: beyondEmbedded(),
		// To the broker, a process that has died is one that says nothing any more.
		Crash: func(t *testing.T, tr driver.Transport) { linkOf(t, tr).net.Cut() },
		Disconnect: func(t *testing.T, tr driver.Transport) func() {
			net := linkOf(t, tr).net
			net.Cut()
			return net.Restore
		},
		AddPartitions: func(t *testing.T, tr driver.Transport, topic string, n int32) {
			info, err := tr.(driver.Admin).DescribeTopic(testContext(t), topic)
			require.NoError(t, err)
			require.NoError(t, linkOf(t, tr).broker.AddPartitions(testContext(t), topic, int(info.Partitions+n)))
		},
	}
}

// strict is the default marshaler, but for records that have no UUID: it can't decode
// those.
type strict struct {
	watermillkafka.DefaultMarshaler
}

func (s strict) Unmarshal(m *sarama.ConsumerMessage) (*message.Message, error) {
	for _, h := range m.Headers {
		if string(h.Key) == watermillkafka.UUIDHeaderKey {
			return s.DefaultMarshaler.Unmarshal(m)
		}
	}
	return nil, errors.New("the record has no UUID")
}

// undecodable produces a record without a UUID.
func undecodable(t *testing.T, tr driver.Transport, topic string, r driver.Record) {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Producer.Return.Successes = true
	c.Metadata.AllowAutoTopicCreation = false
	p, err := sarama.NewSyncProducer(linkOf(t, tr).broker.Addrs(), c)
	require.NoError(t, err)
	m := &sarama.ProducerMessage{Topic: topic, Partition: 0, Key: sarama.ByteEncoder(r.Key), Value: sarama.ByteEncoder(r.Payload)}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: []byte(h.Value)})
	}
	_, _, err = p.SendMessage(m)
	require.NoError(t, err)
	require.NoError(t, p.Close())
}
