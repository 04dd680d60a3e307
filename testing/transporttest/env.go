package transporttest

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// env is the broker of one scenario, with helpers to use it. Its methods that take t fail the
// test with FailNow, so only the goroutine of the test may call them.
type env struct {
	h       Harness
	connect Connect
	caps    bus.Capabilities
	id      string // makes names unique on a broker that several scenarios use
	topics  atomic.Int64
	first   chan driver.Transport // the transport whose capabilities newEnv has read
	begun   time.Time
}

var environments atomic.Int64

func newEnv(t *testing.T, h Harness) *env {
	t.Helper()
	e := &env{h: h, connect: h.New(t), first: make(chan driver.Transport, 1), begun: time.Now(),
		id: strconv.FormatInt(time.Now().UnixNano(), 36) + strconv.FormatInt(environments.Add(1), 36)}
	tr := e.connect(t)
	e.caps = tr.Capabilities()
	e.first <- tr
	t.Cleanup(func() {
		if t.Failed() && time.Since(e.begun) >= h.Timeout {
			h.timedOut.Store(true)
		}
		select {
		case tr := <-e.first: // the scenario has not used it
			ctx, cancel := e.cleanupContext(t)
			defer cancel()
			_ = tr.Close(ctx) // no scenario has used the transport
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

// bus returns a bus that is closed at the end of the scenario.
func (e *env) bus(t *testing.T, opts ...bus.Option) *bus.Bus {
	t.Helper()
	return e.busOver(t, e.transport(t), opts...)
}

func (e *env) busOver(t *testing.T, tr driver.Transport, opts ...bus.Option) *bus.Bus {
	t.Helper()
	b, err := bus.New(tr, append([]bus.Option{bus.WithSubscribeDefaults(e.subscribeOptions()...)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := e.cleanupContext(t)
		defer cancel()
		_ = b.Shutdown(ctx) // the scenarios about closing check the error themselves
	})
	return b
}

// receive returns the next message of a channel.
func (e *env) receive(t *testing.T, c <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-c:
		require.True(t, ok, "the channel is closed")
		return m
	case <-time.After(e.timeout()):
		require.FailNow(t, "no message arrived")
		return nil
	}
}

func (e *env) subscribeOptions() []bus.SubscribeOption {
	return append([]bus.SubscribeOption{bus.Backoff(time.Millisecond, 20*time.Millisecond)}, e.h.SubscribeOptions...)
}

// name returns a name that only this scenario uses. The same word gives the same name.
func (e *env) name(word string) string { return "conformance-" + e.id + "-" + word }

// topic creates a topic with this number of partitions. The number is ignored if topics have
// no partitions.
func (e *env) topic(t *testing.T, b *bus.Bus, partitions int32) string {
	t.Helper()
	name := e.name(fmt.Sprint("topic-", e.topics.Add(1)))
	ctx, cancel := e.context(t)
	defer cancel()
	require.NoError(t, b.EnsureTopic(ctx, bus.TopicSpec{Name: name, Partitions: partitions}))
	return name
}

// timeout returns how long to wait for an expected event.
func (e *env) timeout() time.Duration {
	if e.h.timedOut.Load() {
		return e.h.Timeout / 10
	}
	return e.h.Timeout
}

// context returns a context that ends after the timeout.
func (e *env) context(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), e.timeout())
}

// cleanupContext returns a context for a Cleanup function. It is short if the scenario has
// failed, because handlers may then be blocked.
func (e *env) cleanupContext(t *testing.T) (context.Context, context.CancelFunc) {
	if t.Failed() {
		return context.WithTimeout(context.Background(), min(e.timeout(), time.Second))
	}
	return context.WithTimeout(context.Background(), e.timeout())
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
	ctx, cancel := e.context(t)
	defer cancel()
	require.NoError(t, s.Ready(ctx))
}

// close drains the subscription.
func (e *env) close(t *testing.T, s *bus.Subscription) {
	t.Helper()
	ctx, cancel := e.context(t)
	defer cancel()
	require.NoError(t, s.Shutdown(ctx))
}

// closeBus drains and closes the bus.
func (e *env) closeBus(t *testing.T, b *bus.Bus) {
	t.Helper()
	ctx, cancel := e.context(t)
	defer cancel()
	require.NoError(t, b.Shutdown(ctx))
}

// publish publishes and waits for the outcomes.
func (e *env) publish(t *testing.T, b *bus.Bus, topic string, ms ...*message.Message) {
	t.Helper()
	require.NoError(t, e.tryPublish(t, b, topic, ms...))
}

// tryPublish publishes under a context that ends after the timeout, and returns the error.
func (e *env) tryPublish(t *testing.T, b *bus.Bus, topic string, ms ...*message.Message) error {
	ctx, cancel := e.context(t)
	defer cancel()
	for _, m := range ms {
		if m != nil {
			m.SetContext(ctx)
		}
	}
	return b.Publish(topic, ms...)
}

// publishing publishes in the background. The scenario fails if publishing fails.
func (e *env) publishing(t *testing.T, b *bus.Bus, topic string, ms ...*message.Message) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	for _, m := range ms {
		m.SetContext(ctx)
	}
	done := make(chan error, 1)
	go func() { done <- b.Publish(topic, ms...) }()
	t.Cleanup(func() { // runs before the Cleanup that closes the bus
		defer cancel()
		soon, stop := e.cleanupContext(t)
		defer stop()
		select {
		case err := <-done:
			assert.NoError(t, err)
		case <-soon.Done():
			assert.Fail(t, "publishing did not end")
		}
	})
}

// publishRecord publishes a record and returns its outcome.
func (e *env) publishRecord(t *testing.T, b *bus.Bus, r *bus.Record) bus.Outcome {
	t.Helper()
	ctx, cancel := e.context(t)
	defer cancel()
	outcome := make(chan bus.Outcome, 1)
	b.PublishRecord(ctx, r, func(o bus.Outcome) { outcome <- o })
	return await(t, e, outcome, "the outcome of a record")
}

// await returns the next value of c.
func await[T any](t *testing.T, e *env, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(e.timeout()):
		require.FailNow(t, "this did not happen: "+what)
		panic("unreachable")
	}
}

// awaitClosed waits until c is closed, and discards its values.
func awaitClosed[T any](t *testing.T, e *env, c <-chan T, what string) {
	t.Helper()
	timeout := time.After(e.timeout())
	for {
		select {
		case _, open := <-c:
			if !open {
				return
			}
		case <-timeout:
			require.FailNow(t, "this did not happen: "+what)
		}
	}
}

// cleanupAwait waits for c at the end of the scenario.
func cleanupAwait(t *testing.T, e *env, c <-chan struct{}, what string) {
	t.Cleanup(func() {
		select {
		case <-c:
		case <-time.After(e.timeout() + time.Second):
			assert.Fail(t, "this did not happen: "+what)
		}
	})
}

// numbered returns n messages. Their payloads are the numbers from first on. If key is not nil,
// their keys are key(number).
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

// onEach returns one message for each partition.
func onEach(first int) []*message.Message {
	ms := numbered(first, partitions, nil)
	for i, m := range ms {
		bus.SetPartition(m, int32(i))
	}
	return ms
}

// sequence returns the n numbers from first on.
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
