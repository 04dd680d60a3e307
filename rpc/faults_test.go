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

// encode makes a record of f.
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

// publish sends a frame past the client and the server.
func (w *world) publish(topic string, f *frame.Frame) {
	w.Helper()
	r, err := encode(f)
	require.NoError(w, err)
	w.publishTo(topic, bus.AnyPartition, r)
}

// publishTo publishes a record and waits until the log has it.
func (w *world) publishTo(topic string, partition int32, r *bus.Record) {
	w.Helper()
	r.Topic, r.Partition = topic, partition
	outcome := make(chan bus.Outcome, 1)
	w.bus.PublishRecord(w.ctx, r, func(o bus.Outcome) { outcome <- o })
	require.NoError(w, (<-outcome).Err)
}

// capture subscribes a server that lets the test answer: it returns requests as frames.
func (w *world) capture(topic string) <-chan frame.Frame {
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

func (w *world) call(ctx context.Context, c *rpc.Client, topic, method string, opts ...rpc.CallOption) <-chan result {
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

// tapped lets a test decide about what is published.
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

func tappedMemory(t *testing.T, tap func(o *driver.Outgoing) bool) *world {
	open := onMemory(t)
	return newWorld(t, func() driver.Transport {
		m := open().(*memory.Transport)
		return &tapped{m, m, tap}
	})
}

// kindOf returns the value of the header that says what kind of frame o is.
func kindOf(o *driver.Outgoing) string {
	kind, _ := (&driver.Record{Headers: o.Headers}).Header(frame.HeaderFrame)
	return kind
}

func isReply(o *driver.Outgoing) bool { return kindOf(o) == "1 reply" }

// poisoned makes records with this payload undecodable.
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
