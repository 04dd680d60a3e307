package kafka

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// recordCodec converts messages to records and records to messages, with the marshaler of
// their topic. A nil marshaler is the default one. The codec contains its own
// implementation of the default, which saves making a watermill message for each record.
type recordCodec struct {
	marshaler Marshaler
	byTopic   map[string]Marshaler
}

func (c *recordCodec) marshalerFor(topic string) Marshaler {
	if m, ok := c.byTopic[topic]; ok {
		return m
	}
	return c.marshaler
}

// keepsHeaderOrder reports whether headers arrive as they were published. A marshaler gets
// them as metadata, which has no order and no repeated names.
func (c *recordCodec) keepsHeaderOrder() bool { return c.marshaler == nil && len(c.byTopic) == 0 }

// encode sets the record of msg. It puts headers into buf. Its errors have the code
// InvalidArgument.
func (c *recordCodec) encode(msg *pendingMessage, buf *batchBuffer) error {
	rec, out := &msg.rec, msg.out
	for i := range out.Headers {
		if out.Headers[i].Key == uuidHeader { // watermill's marshalers accept it with an empty value, and lose the UUID
			return failCode(driver.CodeInvalidArgument, "publish", out.Topic,
				"the metadata name "+uuidHeader+" is reserved for the UUID of the message: use another name", nil)
		}
	}
	if m := c.marshalerFor(out.Topic); m != nil {
		made, err := marshal(m, out)
		if err != nil {
			return failCode(driver.CodeInvalidArgument, "publish", out.Topic, "the marshaler failed", err)
		}
		rec.Key, rec.Value, rec.Headers, rec.Timestamp = made.Key, made.Value, made.Headers, made.Timestamp
	} else {
		first := len(buf.headers)
		if out.UUID != "" {
			buf.addHeader(uuidHeader, out.UUID)
		}
		for i := range out.Headers {
			buf.addHeader(out.Headers[i].Key, out.Headers[i].Value)
		}
		rec.Headers, rec.Value = buf.headers[first:len(buf.headers):len(buf.headers)], sarama.ByteEncoder(out.Payload)
	}
	if out.Key != nil {
		rec.Key = sarama.ByteEncoder(out.Key)
	}
	if !out.Timestamp.IsZero() {
		rec.Timestamp = out.Timestamp
	}
	rec.Topic = out.Topic
	return nil
}

func marshal(m Marshaler, out *driver.Outgoing) (rec *sarama.ProducerMessage, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	msg := message.NewMessage(out.UUID, out.Payload)
	for _, h := range out.Headers {
		msg.Metadata[h.Key] = h.Value
	}
	msg.SetContext(out.Context)
	rec, err = m.Marshal(out.Topic, msg)
	if err == nil && rec == nil {
		err = errors.New("Marshal returned neither a record nor an error")
	}
	return rec, err
}

// decode converts fetched records and appends them to records.
func (c *recordCodec) decode(records []driver.Record, fetched []*sarama.ConsumerMessage) []driver.Record {
	buf := newHeaderBuffer(fetched)
	for _, in := range fetched {
		records = append(records, c.decodeOne(in, buf))
	}
	return records
}

func (c *recordCodec) decodeOne(in *sarama.ConsumerMessage, buf *headerBuffer) driver.Record {
	rec := driver.Record{
		Topic: in.Topic, Partition: in.Partition, Offset: in.Offset,
		Key: in.Key, Timestamp: in.Timestamp, Payload: in.Value,
	}
	m := c.marshalerFor(in.Topic)
	if m == nil {
		rec.UUID, rec.Headers = buf.read(in, true)
		return rec
	}
	msg, err := unmarshal(m, in)
	if err != nil {
		_, rec.Headers = buf.read(in, false)
		rec.DecodeErr = &driver.Error{
			Code: driver.CodeUndecodable, Op: "fetch", Transport: transportName, Topic: in.Topic,
			Reason: fmt.Sprintf("the marshaler cannot decode the record at partition %d, offset %d", in.Partition, in.Offset), Err: err,
		}
		return rec
	}
	rec.UUID, rec.Payload = msg.UUID, msg.Payload
	rec.Headers = make([]driver.Header, 0, len(msg.Metadata))
	for _, k := range slices.Sorted(maps.Keys(msg.Metadata)) {
		rec.Headers = append(rec.Headers, driver.Header{Key: k, Value: msg.Metadata[k]})
	}
	return rec
}

func unmarshal(m Marshaler, in *sarama.ConsumerMessage) (msg *message.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	msg, err = m.Unmarshal(in)
	if err == nil && msg == nil {
		err = errors.New("Unmarshal returned neither a message nor an error")
	}
	return msg, err
}

// headerBuffer holds the headers of all records of one fetch in two allocations.
type headerBuffer struct {
	headers []driver.Header
	text    strings.Builder
}

func newHeaderBuffer(fetched []*sarama.ConsumerMessage) *headerBuffer {
	headers, text := 0, 0
	for _, in := range fetched {
		headers += len(in.Headers)
		for _, h := range in.Headers {
			text += len(h.Key) + len(h.Value)
		}
	}
	b := &headerBuffer{headers: make([]driver.Header, 0, headers)}
	b.text.Grow(text)
	return b
}

// read returns the headers of a record in their order. If takeUUID is set, it returns the
// value of the UUID header separately and leaves that header out.
func (b *headerBuffer) read(in *sarama.ConsumerMessage, takeUUID bool) (uuid string, headers []driver.Header) {
	begin := b.text.Len()
	for _, h := range in.Headers {
		b.text.Write(h.Key)
		b.text.Write(h.Value)
	}
	rest := b.text.String()[begin:]
	first := len(b.headers)
	for _, h := range in.Headers {
		k, v := len(h.Key), len(h.Key)+len(h.Value)
		name, value := rest[:k], rest[k:v]
		rest = rest[v:]
		if takeUUID && name == uuidHeader {
			uuid = value
			continue
		}
		b.headers = append(b.headers, driver.Header{Key: name, Value: value})
	}
	return uuid, b.headers[first:len(b.headers):len(b.headers)]
}
