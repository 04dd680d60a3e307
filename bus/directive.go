package bus

import (
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// SetKey sets the key of the message. Messages with the same key go to the same partition of a
// topic, in the order in which they are published. The key is in the metadata under
// [driver.KeyDirective], so message.Copy keeps it. A message that was delivered has its key there
// too, so it keeps the key when a program publishes it again. An empty key removes the key.
func SetKey(m *message.Message, key string) {
	if key == "" {
		delete(m.Metadata, driver.KeyDirective)
		return
	}
	m.Metadata.Set(driver.KeyDirective, key)
}

// KeyOf returns the key of the message, "" if it has none.
func KeyOf(m *message.Message) string { return m.Metadata.Get(driver.KeyDirective) }

// SetPartition sets the partition of the message. The key then has no effect on the partition. If
// the topics of the transport have no partitions, publishing returns an error with
// CodeUnsupported.
func SetPartition(m *message.Message, partition int32) {
	m.Metadata.Set(driver.PartitionDirective, strconv.FormatInt(int64(partition), 10))
}

// SetTimestamp sets the timestamp of the record, instead of the time of publishing.
func SetTimestamp(m *message.Message, t time.Time) {
	m.Metadata.Set(driver.TimestampDirective, t.Format(time.RFC3339Nano))
}

// read sets the fields of out from m: UUID, payload and headers, and the key, partition and
// timestamp that the metadata of m has under the reserved names. It appends the headers and the key
// to the given slices, and returns the longer slices.
func read(out *driver.Outgoing, m *message.Message, headers []Header, keys []byte) ([]Header, []byte, error) {
	out.Partition, out.UUID, out.Payload = driver.AnyPartition, m.UUID, m.Payload
	var wrong error
	check := func(ok bool, name, what string) {
		if !ok {
			wrong = &Error{Code: CodeInvalidArgument, Op: "publish", Topic: out.Topic, Reason: "the metadata " + name + " is not " + what}
		}
	}
	first := len(headers)
	for k, v := range m.Metadata {
		if !driver.IsDirective(k) {
			headers = append(headers, Header{Key: k, Value: v})
			continue
		}
		switch k {
		case driver.KeyDirective:
			if v != "" {
				keys = append(keys, v...)
				out.Key = keys[len(keys)-len(v) : len(keys) : len(keys)]
			}
		case driver.PartitionDirective:
			p, err := strconv.ParseInt(v, 10, 32)
			out.Partition = int32(p)
			check(err == nil && p >= 0, k, "a partition number")
		case driver.TimestampDirective:
			var err error
			out.Timestamp, err = time.Parse(time.RFC3339Nano, v)
			check(err == nil, k, "an RFC 3339 time")
		}
	}
	out.Headers = headers[first:len(headers):len(headers)]
	return headers, keys, wrong
}

// size returns the size of a message in bytes for the size limits: the key, the payload, the names
// and values of the headers, and the UUID.
func size(out *driver.Outgoing) int {
	n := len(out.UUID) + len(out.Key) + len(out.Payload)
	for i := range out.Headers {
		n += len(out.Headers[i].Key) + len(out.Headers[i].Value)
	}
	return n
}
