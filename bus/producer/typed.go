package producer

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
)

// Typed sends values of one type through a producer. It has nothing to close: the
// producer is closed. It is safe for concurrent use.
//
// Messages say what they are: the header codec.ContentTypeHeader ("content-type") has
// the codec's content type, and codec.SchemaIDHeader ("trunkline-schema-id") what
// SchemaID says. codec.Handler is the other side.
type Typed[T any] struct {
	p     *Producer
	codec codec.Codec
	first []SendOption // for every message
}

// TypedOption configures a Typed.
type TypedOption func(*typedConfig) error

type typedConfig struct{ first []SendOption }

// SchemaID sets the schema's id, as it is in the program's registry, which travels in
// codec.SchemaIDHeader. Default: none.
func SchemaID(id string) TypedOption {
	return func(c *typedConfig) error {
		if id == "" {
			return invalid("the schema's id is empty: leave the option out for none")
		}
		c.first = append(c.first, Header(codec.SchemaIDHeader, id))
		return nil
	}
}

// SendDefaults sets options for every message; those of a Send come after them.
func SendDefaults(opts ...SendOption) TypedOption {
	return func(c *typedConfig) error {
		c.first = append(c.first, opts...)
		return nil
	}
}

// NewTyped sends values through p, encoded with c. A nil c is the default of each
// value: see codec.For.
func NewTyped[T any](p *Producer, c codec.Codec, opts ...TypedOption) (*Typed[T], error) {
	if p == nil {
		return nil, invalid("the producer is nil")
	}
	var cfg typedConfig
	for _, o := range opts {
		if err := o(&cfg); err != nil {
			return nil, err
		}
	}
	return &Typed[T]{p: p, codec: c, first: cfg.first}, nil
}

// Send encodes v and sends it as Producer.Send does. A value that can't be encoded is
// bus.CodeInvalidArgument.
func (t *Typed[T]) Send(ctx context.Context, v T, opts ...SendOption) (Report, error) {
	m, err := t.message(v, opts)
	if err != nil {
		return Report{Topic: t.p.topic, Partition: -1, Offset: -1, Err: err}, err
	}
	return t.p.Send(ctx, m)
}

// SendAsync encodes v and sends it as Producer.SendAsync does. v is the caller's again
// when it returns.
func (t *Typed[T]) SendAsync(ctx context.Context, v T, opts ...SendOption) (*Receipt, error) {
	m, err := t.message(v, opts)
	if err != nil {
		return nil, err
	}
	return t.p.SendAsync(ctx, m)
}

// Producer returns the producer it sends through.
func (t *Typed[T]) Producer() *Producer { return t.p }

func (t *Typed[T]) message(v T, opts []SendOption) (*message.Message, error) {
	m, err := codec.Encode(t.codec, v)
	if err != nil {
		return nil, err
	}
	for _, set := range [][]SendOption{t.first, opts} {
		for _, o := range set {
			o(m)
		}
	}
	return m, nil
}

// SendOption says more about one message.
type SendOption func(*message.Message)

// Key orders the message after those with the same key, and picks its partition. ""
// is no key.
func Key(key string) SendOption { return func(m *message.Message) { bus.SetKey(m, key) } }

// Header adds a header.
func Header(name, value string) SendOption {
	return func(m *message.Message) { m.Metadata.Set(name, value) }
}

// Partition sends the message to this partition, whatever its key.
func Partition(n int32) SendOption { return func(m *message.Message) { bus.SetPartition(m, n) } }

// Timestamp gives the record this time instead of that of its sending.
func Timestamp(at time.Time) SendOption { return func(m *message.Message) { bus.SetTimestamp(m, at) } }

// UUID names the message instead of a random UUID, so that a receiver can tell that
// it is the same one.
func UUID(id string) SendOption { return func(m *message.Message) { m.UUID = id } }
