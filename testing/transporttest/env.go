package transporttest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

// env is one scenario's broker and what it takes to use it.
type env struct {
	h       Harness
	connect Connect
	caps    bus.Capabilities
	id      string // makes names unique on a broker that outlives the scenario
	topics  atomic.Int64
	first   chan driver.Transport // the transport that capabilities were read from
}

var environments atomic.Int64

func newEnv(t *testing.T, h Harness) *env {
	t.Helper()
	e := &env{h: h, connect: h.New(t), first: make(chan driver.Transport, 1),
		id: strconv.FormatInt(time.Now().UnixNano(), 36) + strconv.FormatInt(environments.Add(1), 36)}
	tr := e.connect(t)
	e.caps = tr.Capabilities()
	e.first <- tr
	t.Cleanup(func() {
		select {
		case tr := <-e.first: // nobody used it
			ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
			defer cancel()
			_ = tr.Close(ctx) // the scenario is over; nothing depends on it
		default:
		}
	})
	return e
}

func (e *env) transport(t *testing.T) driver.Transport {
	select {
	case tr := <-e.first:
		return tr
	default:
		return e.connect(t)
	}
}

// bus makes a bus that is closed with the scenario.
func (e *env) bus(t *testing.T, opts ...bus.Option) *bus.Bus {
	t.Helper()
	return e.busOver(t, e.transport(t), opts...)
}

func (e *env) busOver(t *testing.T, tr driver.Transport, opts ...bus.Option) *bus.Bus {
	t.Helper()
	b, err := bus.New(tr, append([]bus.Option{bus.WithSubscribeDefaults(e.subscribeOptions()...)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), e.h.Patience)
		defer cancel()
		_ = b.Shutdown(ctx) // scenarios check Close where that is what they are about
	})
	return b
}

// watchedBus makes a bus, and a channel that gets something when a subscription is
// assigned: Subscribe returns none that could be asked.
func (e *env) watchedBus(t *testing.T, opts ...bus.Option) (*bus.Bus, <-chan struct{}) {
	t.Helper()
	w := make(watch, 16)
	return e.bus(t, append(opts, bus.WithHooks(w))...), w
}

type watch chan struct{}

func (w watch) OnSession(ev hook.SessionEvent) {
	if ev.Assigned {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// receive returns the channel's next message.
func (e *env) receive(t *testing.T, c <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-c:
		require.True(t, ok, "the channel is closed")
		return m
	case <-time.After(e.h.Patience):
		require.FailNow(t, "nothing arrived")
		return nil
	}
}

func (e *env) subscribeOptions() []bus.SubscribeOption {
	return append([]bus.SubscribeOption{bus.Backoff(time.Millisecond, 20*time.Millisecond)}, e.h.SubscribeOptions...)
}

// name makes a name of this scenario's own; the same for the same word.
func (e *env) name(word string) string { return "conformance-" + e.id + "-" + word }

// topic makes a topic with so many partitions, where there are such things.
func (e *env) topic(t *testing.T, b *bus.Bus, partitions int32) string {
	t.Helper()
	name := e.name(fmt.Sprint("topic-", e.topics.Add(1)))
	ctx, cancel := e.patience(t)
	defer cancel()
	require.NoError(t, b.EnsureTopic(ctx, bus.TopicSpec{Name: name, Partitions: partitions}))
	return name
}

func (e *env) patience(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), e.h.Patience)
}

// consume subscribes and waits until the subscription is ready.
func (e *env) consume(t *testing.T, b *bus.Bus, topic string, h bus.Handler, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	s, err := b.Consume(context.WithoutCancel(t.Context()), topic, h, opts...)
	require.NoError(t, err)
	e.ready(t, s)
	return s
}

func (e *env) ready(t *testing.T, s *bus.Subscription) {
	t.Helper()
	ctx, cancel := e.patience(t)
	defer cancel()
	require.NoError(t, s.Ready(ctx))
}

// close drains the subscription.
func (e *env) close(t *testing.T, s *bus.Subscription) {
	t.Helper()
	ctx, cancel := e.patience(t)
	defer cancel()
	require.NoError(t, s.Shutdown(ctx))
}

// publish publishes and waits for the outcomes.
func (e *env) publish(t *testing.T, b *bus.Bus, topic string, ms ...*message.Message) {
	t.Helper()
	require.NoError(t, b.Publish(topic, ms...))
}

// publishing publishes in the background; the scenario fails if that does.
func (e *env) publishing(t *testing.T, b *bus.Bus, topic string, ms ...*message.Message) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- b.Publish(topic, ms...) }()
	t.Cleanup(func() { // before the bus is closed
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(e.h.Patience):
			require.Fail(t, "publishing did not end")
		}
	})
}

// awaits returns when c is closed or has something.
func (e *env) awaits(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(e.h.Patience):
		require.FailNow(t, "it did not happen: "+what)
	}
}

// numbered makes n messages whose payload is their number, from first on. With
// keys they have key(number).
func numbered(first, n int, key func(int) string) []*message.Message {
	ms := make([]*message.Message, n)
	for i := range ms {
		ms[i] = message.NewMessage(fmt.Sprintf("id-%d", first+i), []byte(strconv.Itoa(first+i)))
		if key != nil {
			bus.SetKey(ms[i], key(first+i))
		}
	}
	return ms
}

func number(d *bus.Delivery) int {
	n, err := strconv.Atoi(string(d.Payload))
	if err != nil {
		panic(fmt.Sprintf("a message that was not published arrived: %q", d.Payload))
	}
	return n
}

// log is what handlers write down; waiting for it needs no polling.
type log struct {
	mu      sync.Mutex
	entries []entry
	changed chan struct{}
}

type entry struct {
	number  int
	attempt int
	record  bus.Record
	at      time.Time
}

func newLog() *log { return &log{changed: make(chan struct{})} }

func (l *log) add(d *bus.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry{number(d), d.Attempt, *d.Record, time.Now()})
	close(l.changed)
	l.changed = make(chan struct{})
}

// handler writes the delivery down and acknowledges it.
func (l *log) handler(_ context.Context, d *bus.Delivery) error {
	l.add(d)
	return nil
}

func (l *log) snapshot() []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]entry(nil), l.entries...)
}

func (l *log) numbers() []int {
	var ns []int
	for _, e := range l.snapshot() {
		ns = append(ns, e.number)
	}
	return ns
}

// until waits until ok says so of what is written down, and returns that.
func (l *log) until(t *testing.T, e *env, what string, ok func([]entry) bool) []entry {
	t.Helper()
	timeout := time.After(e.h.Patience)
	for {
		l.mu.Lock()
		entries, changed := append([]entry(nil), l.entries...), l.changed
		l.mu.Unlock()
		if ok(entries) {
			return entries
		}
		select {
		case <-changed:
		case <-timeout:
			require.FailNow(t, "it did not happen: "+what, "%d deliveries so far", len(entries))
		}
	}
}

// count waits for n deliveries.
func (l *log) count(t *testing.T, e *env, n int) []entry {
	t.Helper()
	return l.until(t, e, strconv.Itoa(n)+" deliveries", func(es []entry) bool { return len(es) >= n })
}

// distinct waits until n different messages were delivered.
func (l *log) distinct(t *testing.T, e *env, n int) []entry {
	t.Helper()
	return l.until(t, e, strconv.Itoa(n)+" different messages", func(es []entry) bool {
		seen := map[int]bool{}
		for _, x := range es {
			seen[x.number] = true
		}
		return len(seen) >= n
	})
}

func sequence(first, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = first + i
	}
	return s
}

func requireCode(t *testing.T, want bus.Code, err error, about string) {
	t.Helper()
	require.Error(t, err, about)
	require.Equal(t, want, bus.CodeOf(err), "%s: %v", about, err)
}

// eventually waits until ok says so; it looks again whenever one of the logs grows.
func (e *env) eventually(t *testing.T, what string, ok func() bool, logs ...*log) {
	t.Helper()
	timeout := time.After(e.h.Patience)
	for {
		changed := make(chan struct{}, len(logs))
		stop := make(chan struct{})
		for _, l := range logs {
			l.mu.Lock()
			grown := l.changed
			l.mu.Unlock()
			go func() {
				select {
				case <-grown:
					changed <- struct{}{}
				case <-stop:
				}
			}()
		}
		done := ok()
		if !done {
			select {
			case <-changed:
			case <-timeout:
				close(stop)
				require.FailNow(t, "it did not happen: "+what)
			}
		}
		close(stop)
		if done {
			return
		}
	}
}
