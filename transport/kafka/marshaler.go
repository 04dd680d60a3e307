package kafka

import (
	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
)

// Marshaler makes records of messages and messages of records. It has the methods of
// watermill-kafka's MarshalerUnmarshaler. Both may be called from many goroutines at
// once, and must not keep or change what they are given. A panic is an error.
type Marshaler interface {
	Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error)
	Unmarshal(*sarama.ConsumerMessage) (*message.Message, error)
}

// UUIDHeader is the header that carries a watermill message's UUID.
const UUIDHeader = "_watermill_message_uuid"

// RawMarshaler writes the payload and nothing else: no UUID, no metadata. What it
// reads has no UUID, and the record's headers, if any, as metadata.
type RawMarshaler struct{}

// Marshal returns a record of msg's payload.
func (RawMarshaler) Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	return &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(msg.Payload)}, nil
}

// Unmarshal returns a message of the record's value.
func (RawMarshaler) Unmarshal(rec *sarama.ConsumerMessage) (*message.Message, error) {
	msg := message.NewMessage("", rec.Value)
	for _, h := range rec.Headers {
		msg.Metadata.Set(string(h.Key), string(h.Value))
	}
	return msg, nil
}
