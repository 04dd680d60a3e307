package kafka

import (
	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
)

// Marshaler converts messages to records and records to messages. It has the methods of
// watermill-kafka's MarshalerUnmarshaler. Both methods must be safe for concurrent use, and
// must not keep or change their arguments. The transport treats a panic as an error.
type Marshaler interface {
	Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error)
	Unmarshal(*sarama.ConsumerMessage) (*message.Message, error)
}

// uuidHeader is the header with the UUID of a watermill message. It is watermill-kafka's
// UUIDHeaderKey.
const uuidHeader = "_watermill_message_uuid"

// RawMarshaler writes only the payload: no UUID and no metadata. The messages that it
// reads have no UUID, and the headers of the record as metadata.
type RawMarshaler struct{}

// Marshal returns a record with the payload of msg.
func (RawMarshaler) Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	return &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(msg.Payload)}, nil
}

// Unmarshal returns a message with the value and the headers of the record.
func (RawMarshaler) Unmarshal(rec *sarama.ConsumerMessage) (*message.Message, error) {
	msg := message.NewMessage("", rec.Value)
	for _, h := range rec.Headers {
		msg.Metadata.Set(string(h.Key), string(h.Value))
	}
	return msg, nil
}
