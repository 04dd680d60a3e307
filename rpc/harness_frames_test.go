package rpc_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/transport/memory"
)

// encode returns the record of f.
func encode(f *frame.Frame) (*bus.Record, error) {
	r := &bus.Record{}
	err := frame.HeaderWire{}.Encode(f, r)
	return r, err
}

// setHeader sets a header of r, and replaces one with the same name.
func setHeader(r *bus.Record, name, value string) {
	r.Headers = slices.DeleteFunc(r.Headers, func(h bus.Header) bool { return h.Key == name })
	r.Headers = append(r.Headers, bus.Header{Key: name, Value: value})
}

// publish publishes a frame without a client or a server.
func (w *fixture) publish(topic string, f *frame.Frame) {
	w.Helper()
	require.NoError(w, w.tryPublish(topic, f))
}

// tryPublish is publish for goroutines other than the test's.
func (w *fixture) tryPublish(topic string, f *frame.Frame) error {
	r, err := encode(f)
	if err != nil {
		return err
	}
	return w.tryPublishTo(topic, bus.AnyPartition, r)
}

// publishTo publishes a record and waits until the transport's log has it.
func (w *fixture) publishTo(topic string, partition int32, r *bus.Record) {
	w.Helper()
	require.NoError(w, w.tryPublishTo(topic, partition, r))
}

func (w *fixture) tryPublishTo(topic string, partition int32, r *bus.Record) error {
	r.Topic, r.Partition = topic, partition
	outcome := make(chan bus.Outcome, 1)
	w.bus.PublishRecord(w.ctx, r, func(o bus.Outcome) { outcome <- o })
	select {
	case o := <-outcome:
		return o.Err
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// capture reads topic in place of a server or client, and returns the frames there, except
// cancel messages.
func (w *fixture) capture(topic string) <-chan frame.Frame {
	w.Helper()
	frames := make(chan frame.Frame, 100)
	sub, err := w.bus.Consume(w.ctx, topic, func(_ context.Context, d *bus.Delivery) error {
		var f frame.Frame
		err := frame.HeaderWire{}.Decode(d.Record, &f)
		if f.Kind != frame.KindCancel {
			frames <- f
		}
		return err
	})
	require.NoError(w, err)
	require.NoError(w, sub.Ready(w.ctx))
	w.Cleanup(func() { require.NoError(w, sub.Shutdown(w.ctx)) })
	return frames
}

type result struct {
	n   *number
	err error
}

func (w *fixture) call(ctx context.Context, c *rpc.Client, topic, method string, opts ...rpc.CallOption) <-chan result {
	r := make(chan result, 1)
	go func() {
		n, err := rpc.Call[number](ctx, c, topic, method, &number{}, opts...)
		r <- result{n, err}
	}()
	return r
}

func reply(f frame.Frame, body string) *frame.Frame {
	return &frame.Frame{Kind: frame.KindReply, ID: f.ID, Caller: f.Caller, ReplyPartition: bus.AnyPartition, Attempt: f.Attempt,
		ContentType: "application/json", Body: []byte(body)}
}

// tapped is a transport that calls tap for each record. If tap returns true the transport
// does not publish the record, and the test completes it.
type tapped struct {
	driver.Transport
	driver.Admin
	tap func(o *driver.Outgoing) (taken bool)
}

func (t *tapped) Publish(batch []driver.Outgoing) {
	for i := range batch {
		if !t.tap(&batch[i]) {
			t.Transport.Publish(batch[i : i+1])
		}
	}
}

func tappedMemory(t *testing.T, tap func(o *driver.Outgoing) bool) *fixture {
	open := onMemory(t)
	return newFixture(t, func() driver.Transport {
		m := open().(*memory.Transport)
		return &tapped{m, m, tap}
	})
}

// kindOf returns the header with the kind of the frame o.
func kindOf(o *driver.Outgoing) string {
	kind, _ := (&driver.Record{Headers: o.Headers}).Header(frame.HeaderFrame)
	return kind
}

func isReply(o *driver.Outgoing) bool { return kindOf(o) == "1 reply" }

// poisoned is a transport whose records with the payload "poison" cannot be decoded.
type poisoned struct {
	driver.Transport
	driver.Admin
}

func (t poisoned) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	session, err := t.Transport.Subscribe(ctx, s)
	return poisonedSession{session}, err
}

type poisonedSession struct{ driver.Session }

func (s poisonedSession) Next(ctx context.Context) (driver.Event, error) {
	e, err := s.Session.Next(ctx)
	for i, p := range e.Added {
		e.Added[i] = poisonedPartition{p}
	}
	return e, err
}

type poisonedPartition struct{ driver.Partition }

func (p poisonedPartition) Fetch(ctx context.Context) ([]driver.Record, error) {
	recs, err := p.Partition.Fetch(ctx)
	for i := range recs {
		if string(recs[i].Payload) == "poison" {
			recs[i].DecodeErr = errors.New("injected")
		}
	}
	return recs, err
}
