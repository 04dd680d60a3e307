package producer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/producer"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/memory"
)

const topic = "orders"

// fixture is a bus on the memory transport. A test can cut its connection, and delay and
// change the outcomes of its messages.
type fixture struct {
	t      testing.TB
	bus    *bus.Bus
	faults *bustest.Faults
	late   *lateTransport
}

func newFixture(t testing.TB, partitions int32, rules ...bustest.Rule) *fixture {
	tr, err := memory.New()
	require.NoError(t, err)
	w := &fixture{t: t, late: &lateTransport{Transport: tr}}
	w.faults, err = bustest.NewFaults(w.late, 1, rules...)
	require.NoError(t, err)
	w.bus, err = bus.New(w.faults)
	require.NoError(t, err)
	require.NoError(t, w.bus.CreateTopic(t.Context(), bus.TopicSpec{Name: topic, Partitions: partitions}))
	return w
}

func (w *fixture) close() { require.NoError(w.t, w.bus.Close()) }

func (w *fixture) producer(opts ...producer.Option) *producer.Producer {
	p, err := producer.New(w.bus, topic, opts...)
	require.NoError(w.t, err)
	return p
}

// log returns the records of the topic, by partition.
func (w *fixture) log() map[int32][]*bus.Record {
	w.late.mu.Lock()
	w.late.decide = nil
	w.late.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	info, err := w.bus.DescribeTopic(ctx, topic)
	require.NoError(w.t, err)
	for i := range info.Partitions {
		m := message.NewMessage("end", nil)
		bus.SetPartition(m, i)
		require.NoError(w.t, w.bus.Publish(topic, m))
	}
	var mu sync.Mutex
	found, left, done := map[int32][]*bus.Record{}, info.Partitions, make(chan struct{})
	sub, err := w.bus.Consume(ctx, topic, func(_ context.Context, d *bus.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if d.UUID != "end" {
			found[d.Record.Partition] = append(found[d.Record.Partition], d.Record)
		} else if left--; left == 0 {
			close(done)
		}
		return nil
	}, bus.FromOldest(), bus.OrderByPartition())
	require.NoError(w.t, err)
	select {
	case <-done:
	case <-ctx.Done():
		w.t.Fatal("did not reach the end of the log")
	}
	require.NoError(w.t, sub.Shutdown(ctx))
	return found
}

// payloads returns the payloads of records.
func payloads(recs []*bus.Record) (texts []string) {
	for _, r := range recs {
		texts = append(texts, string(r.Payload))
	}
	return texts
}

func msg(key, payload string) *message.Message {
	m := message.NewMessage(payload, []byte(payload))
	bus.SetKey(m, key)
	return m
}

func requireCode(t testing.TB, want bus.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want.String(), bus.CodeOf(err).String(), err)
}

// behavior is what lateTransport does with a message, after a delay.
type behavior uint8

const (
	passed      behavior = iota
	unavailable          // not in the log; the outcome is Unavailable
	lost                 // not in the log; the outcome is unknown
	stored               // in the log; the outcome is unknown
	blocked              // Publish blocks until the context ends
)

// lateTransport reports outcomes with a delay, as a broker does.
type lateTransport struct {
	*memory.Transport
	mu     sync.Mutex
	decide func(payload string) (behavior, time.Duration)
	timers sync.WaitGroup
}

func (l *lateTransport) Publish(batch []driver.Outgoing) {
	for i := range batch {
		o := &batch[i]
		l.mu.Lock()
		what, d := passed, time.Duration(0)
		if l.decide != nil {
			what, d = l.decide(string(o.Payload))
		}
		l.mu.Unlock()
		switch {
		case what == blocked:
			<-o.Context.Done()
			o.Complete(driver.Failed(&bus.Error{Code: driver.ContextCode(o.Context.Err()), Op: "publish", Topic: o.Topic, Reason: "blocked by the test"}))
		case what == unavailable:
			l.later(d, o, driver.Failed(&bus.Error{Code: bus.CodeUnavailable, Op: "publish", Topic: o.Topic, Reason: "by the test"}))
		case what == lost:
			l.later(d, o, unknown(o))
		case what == stored || d > 0:
			c := *o
			c.Sink = lateSink{l, o, d, what == stored}
			l.Transport.Publish([]driver.Outgoing{c})
		default:
			l.Transport.Publish(batch[i : i+1])
		}
	}
}

func (l *lateTransport) later(d time.Duration, o *driver.Outgoing, r driver.Outcome) {
	if d == 0 {
		o.Complete(r)
		return
	}
	l.timers.Go(func() {
		time.Sleep(d) // in a synctest bubble
		o.Complete(r)
	})
}

func (l *lateTransport) Close(ctx context.Context) error {
	l.timers.Wait()
	return l.Transport.Close(ctx)
}

func unknown(o *driver.Outgoing) driver.Outcome {
	return driver.Failed(&bus.Error{Code: bus.CodeOutcomeUnknown, Op: "publish", Topic: o.Topic, Reason: "lost"})
}

type lateSink struct {
	l    *lateTransport
	o    *driver.Outgoing
	d    time.Duration
	lose bool
}

func (s lateSink) Published(_ *driver.Outgoing, r driver.Outcome) {
	if s.lose {
		r = unknown(s.o)
	}
	s.l.later(s.d, s.o, r)
}

func name(i int) string { return fmt.Sprintf("m%03d", i) }
