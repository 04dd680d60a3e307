package rpc_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmchan "github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/foreign"
	"github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/kafka"
	"github.com/trunkline/trunkline/transport/memory"
)

// testTimeout bounds every test and each wait in it.
const testTimeout = 3 * time.Minute

func TestMain(m *testing.M) { leaktest.Main(m) }

// transports are the transports of the behavior tests. Each open returns a function that
// makes transports with the same log.
var transports = []struct {
	name string
	open func(t *testing.T) func() driver.Transport
}{
	{"memory", onMemory},
	{"gochannel", onGochannel},
	{"foreign", onForeign},
	{"kafka", onKafka},
}

func onMemory(t *testing.T) func() driver.Transport {
	log, err := memory.NewLog()
	require.NoError(t, err)
	return onMemoryLog(t, log)
}

func onMemoryLog(t *testing.T, log *memory.Log) func() driver.Transport {
	return func() driver.Transport {
		tr, err := memory.New(memory.WithLog(log))
		require.NoError(t, err)
		return tr
	}
}

func onGochannel(t *testing.T) func() driver.Transport {
	tr, err := gochannel.New()
	require.NoError(t, err)
	return func() driver.Transport { return tr } // a set of channels belongs to one transport
}

func onForeign(t *testing.T) func() driver.Transport {
	pubsub := wmchan.NewGoChannel(wmchan.Config{OutputChannelBuffer: 64}, watermill.NopLogger{})
	t.Cleanup(func() { require.NoError(t, pubsub.Close()) })
	return func() driver.Transport {
		tr, err := foreign.New(pubsub, pubsub, foreign.WithKeepOpen())
		require.NoError(t, err)
		return tr
	}
}

// onKafka is an embedded broker, or the real cluster that TRUNKLINE_KAFKA names.
func onKafka(t *testing.T) func() driver.Transport { return onKafkaThrough(t, nil) }

// onKafkaThrough uses the network of the dialer; nil means the default.
func onKafkaThrough(t *testing.T, net *kafkatest.Dialer) func() driver.Transport {
	broker := kafkatb.New(t)
	var opts []kafka.Option
	if net != nil {
		opts = append(opts, kafka.WithDialer(net.DialContext))
	}
	return func() driver.Transport {
		tr, err := kafka.New(broker.Addrs(), opts...)
		require.NoError(t, err)
		return tr
	}
}

// fixture is what a test uses: a broker, and the servers and clients on it. The end of
// the test closes everything.
type fixture struct {
	*testing.T
	ctx  context.Context
	open func() driver.Transport
	bus  *bus.Bus
	log  *logRecorder
}

// onEveryTransport runs a test on each transport.
func onEveryTransport(t *testing.T, test func(w *fixture)) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			test(newFixture(t, tr.open(t)))
		})
	}
}

// inMemory returns a fixture on the memory transport.
func inMemory(t *testing.T) *fixture { return newFixture(t, onMemory(t)) }

func newFixture(t *testing.T, open func() driver.Transport) *fixture {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	w := &fixture{T: t, ctx: ctx, open: open, log: &logRecorder{}}
	w.bus = w.newBus()
	return w
}

func (w *fixture) newBus(opts ...bus.Option) *bus.Bus {
	w.Helper()
	b, err := bus.New(w.open(), opts...)
	require.NoError(w, err)
	w.Cleanup(func() { require.NoError(w, b.Close()) })
	return b
}

// busOn returns a bus on a transport of the test.
func (w *fixture) busOn(tr driver.Transport) *bus.Bus {
	w.Helper()
	b, err := bus.New(tr)
	require.NoError(w, err)
	w.Cleanup(func() { _ = b.Close() }) // its transport may have crashed
	return b
}

// topic creates a topic and returns its name. On a broker that other tests may use the name
// has a random part.
func (w *fixture) topic(name string, partitions int32) string {
	w.Helper()
	name = w.name(name)
	require.NoError(w, w.bus.EnsureTopic(w.ctx, bus.TopicSpec{Name: name, Partitions: partitions}))
	if b := w.bus; b.Capabilities().Durable {
		w.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := b.DeleteTopic(ctx, name); err != nil && bus.CodeOf(err) != bus.CodeNotFound {
				w.Log(err) // the broker may be closed
			}
		})
	}
	return name
}

func (w *fixture) name(name string) string {
	if w.bus.Capabilities().Durable {
		return name + "-" + strings.ToLower(rand.Text()[:10])
	}
	return name
}

func (w *fixture) server(opts ...rpc.ServerOption) *rpc.Server {
	w.Helper()
	s, err := rpc.NewServer(w.bus, append([]rpc.ServerOption{rpc.WithLogger(slog.New(w.log))}, opts...)...)
	require.NoError(w, err)
	w.Cleanup(func() { require.NoError(w, s.Shutdown(w.ctx)) })
	return s
}

func (w *fixture) start(s *rpc.Server, topic string) {
	w.Helper()
	require.NoError(w, s.Listen(topic))
	require.NoError(w, s.Ready(w.ctx))
}

func (w *fixture) client(opts ...rpc.ClientOption) *rpc.Client {
	w.Helper()
	c, err := rpc.NewClient(w.bus, opts...)
	require.NoError(w, err)
	w.Cleanup(func() { require.NoError(w, c.Close()) })
	return c
}

// handle registers a handler.
func handle[Req, Resp any](w *fixture, s *rpc.Server, method string, h func(context.Context, *Req) (*Resp, error)) {
	w.Helper()
	require.NoError(w, rpc.Handle(s, method, h))
}

// deadline returns the deadline of the test.
func (w *fixture) deadline() time.Time { d, _ := w.ctx.Deadline(); return d }

// eventually waits until ok returns true.
func (w *fixture) eventually(what string, ok func() bool) {
	w.Helper()
	require.Eventually(w, ok, testTimeout, time.Millisecond, what)
}

// receive returns the next value of ch. It fails the test instead of waiting without limit.
// Call it on the test's goroutine only.
func receive[T any](w *fixture, ch <-chan T) T {
	w.Helper()
	select {
	case v := <-ch:
		return v
	case <-w.ctx.Done():
		w.Fatal("nothing was received in time")
		panic("unreachable")
	}
}

type number struct{ N int }

func double(_ context.Context, n *number) (*number, error) { return &number{2 * n.N}, nil }

// logRecorder keeps the last log record.
type logRecorder struct {
	text atomic.Pointer[string]
}

func (*logRecorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *logRecorder) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r *logRecorder) WithGroup(string) slog.Handler          { return r }

func (r *logRecorder) Handle(_ context.Context, rec slog.Record) error {
	var b strings.Builder
	b.WriteString(rec.Message + " level=" + rec.Level.String())
	rec.Attrs(func(a slog.Attr) bool { b.WriteString(" " + a.String()); return true })
	text := b.String()
	r.text.Store(&text)
	return nil
}

func (r *logRecorder) logger() *slog.Logger { return slog.New(r) }

func (r *logRecorder) last() string {
	if p := r.text.Load(); p != nil {
		return *p
	}
	return ""
}
