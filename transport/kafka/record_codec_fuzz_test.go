package kafka

import (
	"testing"

	"github.com/IBM/sarama"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

// FuzzDecode checks that no record from a broker makes the codec panic, with the default
// format, with watermill-kafka's marshaler and with RawMarshaler, and that the default
// format keeps everything. It decodes two records together, because records of one fetch
// share a buffer.
func FuzzDecode(f *testing.F) {
	f.Add("key", "value", uuidHeader, "id", "a", "1")
	f.Add("", "", "", "", "", "")
	f.Add("k", "v", "a", "1", "a", "2")
	f.Add("k", "v", uuidHeader, "1", uuidHeader, "2")
	f.Add("\xff", "\x00", "\xff\xfe", "\x00", "_watermill_message_uuid\x00", "x")
	f.Fuzz(func(t *testing.T, key, value, name1, value1, name2, value2 string) {
		in := &sarama.ConsumerMessage{
			Topic: "topic", Partition: 3, Offset: 7, Key: []byte(key), Value: []byte(value),
			Headers: []*sarama.RecordHeader{{Key: []byte(name1), Value: []byte(value1)}, {Key: []byte(name2), Value: []byte(value2)}},
		}
		plain := &sarama.ConsumerMessage{Topic: "topic", Offset: 8, Headers: []*sarama.RecordHeader{{Key: []byte(name2)}}}
		for _, m := range []Marshaler{nil, wmkafka.DefaultMarshaler{}, RawMarshaler{}} {
			codec := &recordCodec{marshaler: m}
			recs := codec.decode(nil, []*sarama.ConsumerMessage{in, plain})
			require.Len(t, recs, 2)
			require.NoError(t, recs[0].DecodeErr)
			require.Equal(t, value, string(recs[0].Payload))
			require.Equal(t, key, string(recs[0].Key))
			require.EqualValues(t, 7, recs[0].Offset)
			require.EqualValues(t, 8, recs[1].Offset)
		}

		rec := (&recordCodec{}).decode(nil, []*sarama.ConsumerMessage{in, plain})[0]
		uuid, want := "", []driver.Header{}
		for _, h := range in.Headers {
			if string(h.Key) == uuidHeader {
				uuid = string(h.Value)
			} else {
				want = append(want, driver.Header{Key: string(h.Key), Value: string(h.Value)})
			}
		}
		require.Equal(t, uuid, rec.UUID)
		require.Equal(t, want, append([]driver.Header{}, rec.Headers...))
	})
}

// FuzzEncode checks that a message that the codec encodes is the same after decoding, in
// the default format and, without repeated names, with watermill-kafka's marshaler.
func FuzzEncode(f *testing.F) {
	f.Add("id", "key", "payload", "a", "1", "b", "2")
	f.Add("", "", "", "", "", "", "")
	f.Add("id", "k", "p", uuidHeader, "1", "a", "2")
	f.Fuzz(func(t *testing.T, uuid, key, payload, name1, value1, name2, value2 string) {
		headers := []driver.Header{{Key: name1, Value: value1}, {Key: name2, Value: value2}}
		for _, m := range []Marshaler{nil, wmkafka.DefaultMarshaler{}} {
			if m != nil && name1 == name2 {
				continue // metadata has no repeated names
			}
			codec := &recordCodec{marshaler: m}
			out := driver.Outgoing{
				Context: t.Context(), Topic: "topic", UUID: uuid, Key: []byte(key), Payload: []byte(payload), Headers: headers,
			}
			batch := []driver.Outgoing{out}
			buf := newBatchBuffer(batch)
			msg := &buf.messages[0]
			msg.out, msg.buf = &batch[0], buf
			err := codec.encode(msg, buf)
			if name1 == uuidHeader || name2 == uuidHeader {
				require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
				continue
			}
			require.NoError(t, err)
			in := &sarama.ConsumerMessage{Topic: "topic"}
			in.Key, err = msg.rec.Key.Encode()
			require.NoError(t, err)
			in.Value, err = msg.rec.Value.Encode()
			require.NoError(t, err)
			for i := range msg.rec.Headers {
				in.Headers = append(in.Headers, &msg.rec.Headers[i])
			}
			rec := codec.decode(nil, []*sarama.ConsumerMessage{in})[0]
			require.NoError(t, rec.DecodeErr)
			require.Equal(t, uuid, rec.UUID)
			require.Equal(t, key, string(rec.Key))
			require.Equal(t, payload, string(rec.Payload))
			if m == nil {
				require.Equal(t, headers, rec.Headers)
			} else {
				require.ElementsMatch(t, headers, rec.Headers)
			}
		}
	})
}
