package kafka_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/freeport"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// testTimeout bounds every wait of these tests; none of them comes near it.
const testTimeout = 60 * time.Second

func TestMain(m *testing.M) {
	setMinParallel(6)
	leaktest.Main(m,
		// watermill's suite subscribes many times and does not read to the end.
		goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe.func2"),
		goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe.func3"),
	)
}

// setMinParallel has n tests run at a time at least, unless the command line says how many: they
// wait more than they compute.
func setMinParallel(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given && runtime.GOMAXPROCS(0) < n {
		if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
			panic(err)
		}
	}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// open returns a transport on the broker, connected and closed when t ends.
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

// rig is a broker with one topic, and a transport on it whose network can be cut.
type rig struct {
	*kafka.Transport
	broker *kafkatest.Broker
	net    *kafkatest.Dialer
	topic  string
}

func setup(t *testing.T, partitions int, opts ...kafka.Option) *rig {
	t.Helper()
	b := kafkatb.New(t)
	d := &kafkatest.Dialer{}
	topic := kafkatb.Topic(t, b, partitions)
	k := open(t, b, append([]kafka.Option{kafka.WithDialer(d.DialContext)}, opts...)...)
	return &rig{Transport: k, broker: b, net: d, topic: topic}
}

// sink collects the outcomes of a batch.
type sink struct {
	wg  sync.WaitGroup
	mu  sync.Mutex
	out []driver.Outcome
	n   []int
}

func (s *sink) Published(o *driver.Outgoing, r driver.Outcome) {
	s.mu.Lock()
	s.out[o.Index] = r
	s.n[o.Index]++
	s.mu.Unlock()
	s.wg.Done()
}

func (s *sink) wait() []driver.Outcome {
	s.wg.Wait()
	return s.out
}

type item struct {
	uuid, key, payload string
	partition          int32
	meta               map[string]string
	at                 time.Time
}

func batch(ctx context.Context, topic string, items ...item) ([]driver.Outgoing, *sink) {
	s := &sink{out: make([]driver.Outcome, len(items)), n: make([]int, len(items))}
	s.wg.Add(len(items))
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

// publish publishes and waits for every outcome.
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

// subscribe opens a session that is closed when t ends.
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

// assigned waits for an assignment and returns what it adds.
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

// fetch takes n records of p.
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

// states follows the connection of a transport.
type states struct {
	mu   sync.Mutex
	seen []driver.Connection
	more chan struct{}
}

func observe(k driver.Transport) *states {
	s := &states{more: make(chan struct{})}
	k.Observe(func(c driver.Connection) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, c)
		close(s.more)
		s.more = make(chan struct{})
	})
	return s
}

// await waits until a state is the latest one.
func (s *states) await(t *testing.T, want driver.ConnectionState) driver.Connection {
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
			t.Fatalf("the connection is %v, want %v", last.State, want)
		}
	}
}

func (s *states) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, c := range s.seen {
		names = append(names, c.State.String())
	}
	return strings.Join(names, " ")
}

// unused returns an address that nothing listens on, and that a listener can take.
func unusedAddr(t *testing.T) (string, int) {
	t.Helper()
	port, err := freeport.Loopback()
	require.NoError(t, err)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), port
}
