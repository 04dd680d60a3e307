package producer

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
)

// Typed encodes values of one type and sends them through a Producer. It has no resources
// of its own: close the Producer. It is safe for concurrent use.
//
// Every message has the codec's content type in the header codec.ContentTypeHeader
// ("content-type"). codec.Handler decodes such messages on the receiving side.
type Typed[T any] struct {
	p        *Producer
	codec    codec.Codec
	defaults []SendOption
}

// NewTyped makes a Typed that encodes with c and sends through p. If c is nil, codec.For
// selects the codec of each value. The options apply to every message. The options of Send and
// SendAsync override them. NewTyped returns an error if p is nil.
func NewTyped[T any](p *Producer, c codec.Codec, defaults ...SendOption) (*Typed[T], error) {
	if p == nil {
		return nil, invalid("the producer is nil")
	}
	return &Typed[T]{p: p, codec: c, defaults: defaults}, nil
}

// Send encodes v and sends it as Producer.Send does. If v cannot be encoded, it returns
// bus.CodeInvalidArgument.
func (t *Typed[T]) Send(ctx context.Context, v T, opts ...SendOption) (Report, error) {
	m, err := t.encode(v, opts)
	if err != nil {
		return failedReport(t.p.topic, err), err
	}
	return t.p.Send(ctx, m)
}

// SendAsync encodes v and sends it as Producer.SendAsync does. The caller may change v
// after the call, except with codec.Raw, which does not copy it.
func (t *Typed[T]) SendAsync(ctx context.Context, v T, opts ...SendOption) (*Receipt, error) {
	m, err := t.encode(v, opts)
	if err != nil {
		return nil, err
	}
	return t.p.SendAsync(ctx, m)
}

// Producer returns the Producer that t sends through.
func (t *Typed[T]) Producer() *Producer { return t.p }

func (t *Typed[T]) encode(v T, opts []SendOption) (*message.Message, error) {
	m, err := codec.Encode(t.codec, v)
	if err != nil {
		return nil, err
	}
	for _, o := range t.defaults {
		o(m)
	}
	for _, o := range opts {
		o(m)
	}
	return m, nil
}

// SendOption sets a property of one message of a Typed. If two options set the same
// property, the later one applies.
type SendOption func(*message.Message)

// Key sets the key of the message. Messages with the same key are kept in order, in one
// partition. The default is the empty key, which means no key.
func Key(key string) SendOption { return func(m *message.Message) { bus.SetKey(m, key) } }

// Header sets a header.
func Header(name, value string) SendOption {
	return func(m *message.Message) { m.Metadata.Set(name, value) }
}

// Partition sends the message to partition n, whatever its key.
func Partition(n int32) SendOption { return func(m *message.Message) { bus.SetPartition(m, n) } }

// SchemaID sets the header codec.SchemaIDHeader ("trunkline-schema-id") to the id that the
// payload's schema has in the program's registry.
func SchemaID(id string) SendOption { return Header(codec.SchemaIDHeader, id) }

// Timestamp sets the time of the record. The default is the time at which it is sent.
func Timestamp(at time.Time) SendOption { return func(m *message.Message) { bus.SetTimestamp(m, at) } }

// UUID sets the UUID of the message, by which a receiver can recognize a duplicate. The
// default is a random UUID.
func UUID(id string) SendOption { return func(m *message.Message) { m.UUID = id } }
