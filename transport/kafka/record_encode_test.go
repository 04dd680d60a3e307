package kafka

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

var marshalerTime = time.Unix(1, 0)

// keyMarshaler sets a key and a timestamp of its own.
type keyMarshaler struct{ RawMarshaler }

func (keyMarshaler) Marshal(_ string, m *message.Message) (*sarama.ProducerMessage, error) {
	return &sarama.ProducerMessage{Key: sarama.StringEncoder("marshaler"), Value: sarama.ByteEncoder(m.Payload), Timestamp: marshalerTime}, nil
}

func TestKeyAndTimestampOfTheMessageReplaceThoseOfTheMarshaler(t *testing.T) {
	t.Parallel()
	own := time.Unix(2, 0)
	for name, c := range map[string]struct {
		out  driver.Outgoing
		key  string
		time time.Time
	}{
		"neither":   {driver.Outgoing{}, "marshaler", marshalerTime},
		"key":       {driver.Outgoing{Key: []byte("message")}, "message", marshalerTime},
		"empty key": {driver.Outgoing{Key: []byte{}}, "", marshalerTime},
		"timestamp": {driver.Outgoing{Timestamp: own}, "marshaler", own},
	} {
		c.out.Context, c.out.Topic = t.Context(), "topic"
		batch := []driver.Outgoing{c.out}
		buf := newBatchBuffer(batch)
		msg := &buf.messages[0]
		msg.out = &batch[0]
		require.NoError(t, (&recordCodec{marshaler: keyMarshaler{}}).encode(msg, buf), name)
		key, err := msg.rec.Key.Encode()
		require.NoError(t, err, name)
		require.Equal(t, c.key, string(key), name)
		require.Equal(t, c.time, msg.rec.Timestamp, name)
		require.Equal(t, "topic", msg.rec.Topic, name)
	}
}
