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

// The conformance tests do not run in parallel, because some scenarios count goroutines.
func TestConformance(t *testing.T) {
	h := harness()
	const scenario = "NextOwnerWaitsForHandlersOfPreviousOwner"
	if h.Except == nil {
		h.Except = map[string]string{}
	}
	h.Except[scenario] = "with this harness the transport waits 9 s for the release of a revoked claim, which is too short on a slow machine; TestConformanceOfGroups runs this scenario"
	transporttest.Run(t, h)
}

// TestConformanceOfGroups runs the scenarios about groups with each balance strategy. The
// rebalance time-out is longer than the time-out of the suite, so that a claim that is never
// released makes the test fail. It leaves out the scenario in which members crash, because
// the embedded broker waits for them until the rebalance time-out has passed.
// TestConformance runs that scenario.
func TestConformanceOfGroups(t *testing.T) {
	for name, balance := range map[string]kafka.Balance{
		"cooperative-sticky": kafka.CooperativeSticky, "sticky": kafka.Sticky, "range": kafka.Range,
	} {
		t.Run(name, func(t *testing.T) {
			h := harness(kafka.WithBalance(balance), kafka.WithTimeouts(kafka.Timeouts{Rebalance: 2 * testTimeout}))
			h.Only = slices.DeleteFunc(transporttest.Rebalances(), func(s string) bool { return s == "OrderByKeyHoldsWhileMembersCrash" })
			transporttest.Run(t, h)
		})
	}
}

func TestConformanceOfDyingMembersWithRange(t *testing.T) {
	h := harness(kafka.WithBalance(kafka.Range))
	h.Only = []string{"OrderByKeyHoldsWhileMembersCrash"}
	transporttest.Run(t, h)
}

// TestRandomProgramsOverABus runs a few of the programs that also run on the memory
// transport.
func TestRandomProgramsOverABus(t *testing.T) {
	t.Parallel()
	transporttest.RunPrograms(t, harness(), 6)
}

// TestConformanceOfUndecodableRecords uses a marshaler that cannot decode some records. The
// default marshaler decodes every record.
func TestConformanceOfUndecodableRecords(t *testing.T) {
	h := harness(kafka.WithMarshaler(strict{}))
	h.Only = []string{"UndecodableRecordIsDeadLettered", "UndecodableRecordEndsSubscriptionWithoutDeadLetterTopic"}
	h.Undecodable = undecodable
	transporttest.Run(t, h)
}

// link is the broker and the dialer of a transport.
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

// beyondEmbedded returns the scenarios that need a real broker, with the reason.
func beyondEmbedded() map[string]string {
	if kafkatb.IsReal() {
		return nil
	}
	return map[string]string{"OrderByKeyHoldsWhileMembersCrash": "the embedded broker never removes a member that dies between JoinGroup and SyncGroup, so nothing reads its partitions"}
}

func harness(opts ...kafka.Option) transporttest.Harness {
	return transporttest.Harness{
		Timeout: testTimeout,
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
		// A process that has crashed sends nothing to the broker.
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

// strict is the default marshaler, except that it cannot decode records without a UUID.
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
