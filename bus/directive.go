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
// fails with Unsupported where topics have no partitions.
func SetPartition(m *message.Message, partition int32) {
	m.Metadata.Set(driver.PartitionDirective, strconv.FormatInt(int64(partition), 10))
}

// SetTimestamp gives the record this time instead of the time it is published.
func SetTimestamp(m *message.Message, t time.Time) {
	m.Metadata.Set(driver.TimestampDirective, t.Format(time.RFC3339Nano))
}

// direct makes of the message's directives what they mean.
func direct(out *driver.Outgoing) error {
	out.Partition = driver.AnyPartition
	m := out.Message
	if len(m.Metadata) == 0 {
		return nil
	}
	wrong := func(name, what string) error {
		return &Error{Code: InvalidArgument, Op: "publish", Topic: out.Topic, Reason: "metadata " + name + " is not " + what}
	}
	if k := m.Metadata[driver.KeyDirective]; k != "" {
		out.Key = []byte(k)
	}
	if s, ok := m.Metadata[driver.PartitionDirective]; ok {
		p, err := strconv.ParseInt(s, 10, 32)
		if err != nil || p < 0 {
			return wrong(driver.PartitionDirective, "a partition's number")
		}
		out.Partition = int32(p)
	}
	if s, ok := m.Metadata[driver.TimestampDirective]; ok {
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return wrong(driver.TimestampDirective, "an RFC 3339 time")
		}
		out.Timestamp = t
	}
	return nil
}

// size counts the message as limits do: key, payload, names and values of the
// metadata, and the UUID.
func size(m *message.Message) int {
	n := len(m.UUID) + len(m.Payload)
	for k, v := range m.Metadata {
		n += len(k) + len(v)
	}
	return n
}
