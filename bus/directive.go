package bus

import (
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// SetKey gives the message a key. Messages with the same key land on the same
// partition of a topic, in the order they are published. It is kept in the metadata
// under [driver.KeyDirective], so it survives message.Copy, and a message that was
// delivered with a key and is published again keeps it. An empty key is no key.
func SetKey(m *message.Message, key string) {
	if key == "" {
		delete(m.Metadata, driver.KeyDirective)
		return
	}
	m.Metadata.Set(driver.KeyDirective, key)
}

// Key returns the message's key, "" when it has none.
func Key(m *message.Message) string { return m.Metadata.Get(driver.KeyDirective) }

// SetPartition sends the message to this partition, whatever its key. Publishing
// fails with CodeUnsupported where topics have no partitions.
func SetPartition(m *message.Message, partition int32) {
	m.Metadata.Set(driver.PartitionDirective, strconv.FormatInt(int64(partition), 10))
}

// SetTimestamp gives the record this time instead of the time it is published.
func SetTimestamp(m *message.Message, t time.Time) {
	m.Metadata.Set(driver.TimestampDirective, t.Format(time.RFC3339Nano))
}

// read makes out what m is, its directives being what they mean. Headers and key are put
// at the ends of the given memory, which is returned.
func read(out *driver.Outgoing, m *message.Message, headers []Header, keys []byte) ([]Header, []byte, error) {
	out.Partition, out.UUID, out.Payload = driver.AnyPartition, m.UUID, m.Payload
	var wrong error
	check := func(ok bool, name, what string) {
		if !ok {
			wrong = &Error{Code: CodeInvalidArgument, Op: "publish", Topic: out.Topic, Reason: "metadata " + name + " is not " + what}
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
			check(err == nil && p >= 0, k, "a partition's number")
		case driver.TimestampDirective:
			var err error
			out.Timestamp, err = time.Parse(time.RFC3339Nano, v)
			check(err == nil, k, "an RFC 3339 time")
		}
	}
	out.Headers = headers[first:len(headers):len(headers)]
	return headers, keys, wrong
}

// size counts a message as limits do: key, payload, names and values of the headers, and
// the UUID.
func size(out *driver.Outgoing) int {
	n := len(out.UUID) + len(out.Key) + len(out.Payload)
	for i := range out.Headers {
		n += len(out.Headers[i].Key) + len(out.Headers[i].Value)
	}
	return n
}
