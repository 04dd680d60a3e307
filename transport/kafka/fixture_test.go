package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/freeport"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// testTimeout limits every wait of these tests. It is far longer than any of them takes.
const testTimeout = 60 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// open returns a connected transport for the broker. It is closed when t ends.
func open(t *testing.T, b *kafkatest.Broker, opts ...kafka.Option) *kafka.Transport {
	t.Helper()
	k, err := kafka.New(b.Addrs(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		require.NoError(t, k.Close(ctx))
	})
	require.NoError(t, k.Ready(testContext(t)))
	return k
}

// fixture is a broker with one topic, and a transport whose network a test can interrupt.
type fixture struct {
	*kafka.Transport
	broker *kafkatest.Broker
	net    *kafkatest.Dialer
	topic  string
}

func setup(t *testing.T, partitions int, opts ...kafka.Option) *fixture {
	t.Helper()
	b := kafkatb.New(t)
	d := &kafkatest.Dialer{}
	topic := kafkatb.Topic(t, b, partitions)
	k := open(t, b, append([]kafka.Option{kafka.WithDialer(d.DialContext)}, opts...)...)
	return &fixture{Transport: k, broker: b, net: d, topic: topic}
}

// errNoOutcome is the outcome that sink.wait returns for a message without one.
var errNoOutcome = errors.New("the transport has not completed the message")

// sink collects the outcomes of a batch.
type sink struct {
	mu   sync.Mutex
	out  []driver.Outcome
	n    []int // how often each message was completed
	left int
	done chan struct{} // closed when left is 0
}

func (s *sink) Published(o *driver.Outgoing, r driver.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out[o.Index] = r
	s.n[o.Index]++
	if s.left--; s.left == 0 {
		close(s.done)
	}
}

// wait returns the outcomes when the transport has completed all messages. After
// testTimeout, messages without an outcome have errNoOutcome. wait can be called in any
// goroutine.
func (s *sink) wait() []driver.Outcome {
	select {
	case <-s.done:
	case <-time.After(testTimeout):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.out)
}

type item struct {
	uuid, key, payload string
	partition          int32
	meta               map[string]string
	at                 time.Time
}

func batch(ctx context.Context, topic string, items ...item) ([]driver.Outgoing, *sink) {
	s := &sink{out: make([]driver.Outcome, len(items)), n: make([]int, len(items)), left: len(items), done: make(chan struct{})}
	for i := range s.out {
		s.out[i].Err = errNoOutcome
	}
	outs := make([]driver.Outgoing, len(items))
	for i, it := range items {
		if it.uuid == "" {
			it.uuid = watermill.NewShortUUID()
		}
		outs[i] = driver.Outgoing{
			Context: ctx, Topic: topic, Partition: it.partition, UUID: it.uuid, Payload: []byte(it.payload),
			Index: i, Sink: s, Timestamp: it.at,
		}
		for _, k := range slices.Sorted(maps.Keys(it.meta)) {
			outs[i].Headers = append(outs[i].Headers, driver.Header{Key: k, Value: it.meta[k]})
		}
		if it.key != "" {
			outs[i].Key = []byte(it.key)
		}
	}
	return outs, s
}

// publish publishes and returns the outcomes.
func publish(t *testing.T, k driver.Transport, topic string, items ...item) []driver.Outcome {
	t.Helper()
	outs, s := batch(testContext(t), topic, items...)
	k.Publish(outs)
	return s.wait()
}

func requirePublished(t *testing.T, outs []driver.Outcome) {
	t.Helper()
	for i, o := range outs {
		require.NoError(t, o.Err, "message %d", i)
	}
}

func anyPartition(payloads ...string) []item {
	items := make([]item, len(payloads))
	for i, p := range payloads {
		items[i] = item{payload: p, partition: driver.AnyPartition}
	}
	return items
}

func numbered(prefix string, n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("%s%04d", prefix, i)
	}
	return s
}

// subscribe opens a session. It is closed when t ends.
func subscribe(t *testing.T, k driver.Transport, s driver.Subscription) driver.Session {
	t.Helper()
	if s.MaxFetch == 0 {
		s.MaxFetch = 100
	}
	session, err := k.Subscribe(t.Context(), s)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		require.NoError(t, session.Close(ctx))
	})
	return session
}

// awaitAssigned waits for an assignment and returns the partitions that it adds.
func awaitAssigned(t *testing.T, s driver.Session) []driver.Partition {
	t.Helper()
	for {
		ev, err := s.Next(testContext(t))
		require.NoError(t, err)
		if ev.Assigned {
			return ev.Added
		}
	}
}

// fetch returns the next n records of p, or more if the last Fetch returns more.
func fetch(t *testing.T, p driver.Partition, n int) []driver.Record {
	t.Helper()
	var got []driver.Record
	for len(got) < n {
		recs, err := p.Fetch(testContext(t))
		require.NoError(t, err)
		require.NotEmpty(t, recs)
		got = append(got, recs...)
	}
	return got
}

func payloads(recs []driver.Record) []string {
	s := make([]string, len(recs))
	for i, r := range recs {
		s[i] = string(r.Payload)
	}
	return s
}

// stateRecorder records the states of a transport's connection.
type stateRecorder struct {
	mu   sync.Mutex
	seen []driver.Connection
	more chan struct{}
}

func observe(k driver.Transport) *stateRecorder {
	s := &stateRecorder{more: make(chan struct{})}
	k.Observe(func(c driver.Connection) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, c)
		close(s.more)
		s.more = make(chan struct{})
	})
	return s
}

// await waits until the connection has this state.
func (s *stateRecorder) await(t *testing.T, want driver.ConnectionState) driver.Connection {
	t.Helper()
	ctx := testContext(t)
	for {
		s.mu.Lock()
		last, more := s.seen[len(s.seen)-1], s.more
		s.mu.Unlock()
		if last.State == want {
			return last
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("the connection is %v, not %v", last.State, want)
		}
	}
}

func (s *stateRecorder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, c := range s.seen {
		names = append(names, c.State.String())
	}
	return strings.Join(names, " ")
}

// unusedAddr returns an address that no program listens on, and its port.
func unusedAddr(t *testing.T) (string, int) {
	t.Helper()
	port, err := freeport.Loopback()
	require.NoError(t, err)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), port
}

// receive returns the next value of ch. It fails t if there is none within testTimeout.
func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(testTimeout):
		require.FailNow(t, "no value on the channel in time")
		panic("unreachable")
	}
}
