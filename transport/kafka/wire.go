package kafka

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// wire turns messages into records and back, by the marshaler of their topic. A nil
// marshaler is the default one, which is written out here so that neither way makes
// a watermill message for nothing.
type wire struct {
	marshaler Marshaler
	byTopic   map[string]Marshaler
}

func (w *wire) of(topic string) Marshaler {
	if m, ok := w.byTopic[topic]; ok {
		return m
	}
	return w.marshaler
}

// keepsOrder says whether headers are the same on the other side: a marshaler is given
// them as metadata.
func (w *wire) keepsOrder() bool { return w.marshaler == nil && len(w.byTopic) == 0 }

// encode fills the item's record, with headers in memory. Errors are
// InvalidArgument.
func (w *wire) encode(item *pending, memory *space) error {
	rec, out := &item.rec, item.out
	if m := w.of(out.Topic); m != nil {
		made, err := marshal(m, out)
		if err != nil {
			return failCode(driver.CodeInvalidArgument, "publish", out.Topic, "the marshaler failed", err)
		}
		rec.Key, rec.Value, rec.Headers, rec.Timestamp = made.Key, made.Value, made.Headers, made.Timestamp
	} else {
		first := len(memory.headers)
		if out.UUID != "" {
			memory.header(UUIDHeader, out.UUID)
		}
		for i := range out.Headers {
			if out.Headers[i].Key == UUIDHeader {
				return failCode(driver.CodeInvalidArgument, "publish", out.Topic,
					"metadata "+UUIDHeader+" is reserved for the message's UUID", nil)
			}
			memory.header(out.Headers[i].Key, out.Headers[i].Value)
		}
		rec.Headers, rec.Value = memory.headers[first:len(memory.headers):len(memory.headers)], sarama.ByteEncoder(out.Payload)
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
		err = fmt.Errorf("it returned neither a record nor an error")
	}
	return rec, err
}

// decode appends Records of what was fetched to records.
func (w *wire) decode(records []driver.Record, fetched []*sarama.ConsumerMessage) []driver.Record {
	memory := newHeaderSpace(fetched)
	for _, in := range fetched {
		records = append(records, w.decodeOne(in, memory))
	}
	return records
}

func (w *wire) decodeOne(in *sarama.ConsumerMessage, memory *headerSpace) driver.Record {
	rec := driver.Record{
		Topic: in.Topic, Partition: in.Partition, Offset: in.Offset,
		Key: in.Key, Timestamp: in.Timestamp, Payload: in.Value,
	}
	m := w.of(in.Topic)
	if m == nil {
		rec.UUID, rec.Headers = memory.read(in, true)
		return rec
	}
	msg, err := unmarshal(m, in)
	if err != nil {
		_, rec.Headers = memory.read(in, false)
		rec.DecodeErr = &driver.Error{
			Code: driver.CodeUndecodable, Op: "fetch", Transport: transportName, Topic: in.Topic,
			Reason: fmt.Sprintf("the unmarshaler failed at partition %d offset %d", in.Partition, in.Offset), Err: err,
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
		err = fmt.Errorf("it returned neither a message nor an error")
	}
	return msg, err
}

// headerSpace is what the headers of fetched records are put in: two allocations for all
// of them.
type headerSpace struct {
	headers []driver.Header
	text    strings.Builder
}

func newHeaderSpace(fetched []*sarama.ConsumerMessage) *headerSpace {
	headers, text := 0, 0
	for _, in := range fetched {
		headers += len(in.Headers)
		for _, h := range in.Headers {
			text += len(h.Key) + len(h.Value)
		}
	}
	s := &headerSpace{headers: make([]driver.Header, 0, headers)}
	s.text.Grow(text)
	return s
}

// read returns the headers in the order of the wire; with uuid, without the one that
// carries the UUID, and its value.
func (s *headerSpace) read(in *sarama.ConsumerMessage, uuid bool) (id string, headers []driver.Header) {
	begin := s.text.Len()
	for _, h := range in.Headers {
		s.text.Write(h.Key)
		s.text.Write(h.Value)
	}
	rest := s.text.String()[begin:]
	first := len(s.headers)
	for _, h := range in.Headers {
		k, v := len(h.Key), len(h.Key)+len(h.Value)
		name, value := rest[:k], rest[k:v]
		rest = rest[v:]
		if uuid && name == UUIDHeader {
			id = value
			continue
		}
		s.headers = append(s.headers, driver.Header{Key: name, Value: value})
	}
	return id, s.headers[first:len(s.headers):len(s.headers)]
}
