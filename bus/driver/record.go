package driver

import (
	"context"
	"time"
)

// Header is one name and value that travels with a record. The value may have any bytes; it is a
// string because strings cannot change.
type Header struct {
	Key   string
	Value string
}

// Record is one record of a transport's log.
type Record struct {
	// Topic, Partition and Offset say where the record is. A transport without offsets numbers
	// the records of each Partition 0, 1, 2, … in the order of Fetch.
	Topic     string
	Partition int32
	Offset    int64
	// Key is nil if there is none.
	Key []byte
	// Timestamp is the time of publishing or of appending: the transport documents which. Logs do
	// not store time zones: compare timestamps with Equal.
	Timestamp time.Time
	// UUID is that of the watermill message. It is "" for a record that another kind of publisher
	// wrote, which is valid.
	UUID string
	// Headers are in the order of the wire. Names may repeat.
	Headers []Header
	Payload []byte
	// DecodeErr is why the bytes are not a message; nil if they are. Payload, Key and Headers then
	// have what was on the wire.
	DecodeErr error
}

// Header returns the value of the first header of that name, and whether there is one.
func (r *Record) Header(name string) (string, bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return r.Headers[i].Value, true
		}
	}
	return "", false
}

// AnyPartition leaves the choice of the partition to the transport: by key, as Java's default
// partitioner chooses, or any partition for a record without a key.
const AnyPartition int32 = -1

// Outgoing is a message that is being published: what will be a [Record]. The transport must not
// change what it refers to, and must copy what it needs after Complete.
type Outgoing struct {
	// Context bounds the wait for space. If it ends before the message was passed on, the
	// transport must complete the message with CodeCanceled or CodeDeadlineExceeded; after that
	// the transport may ignore it. It is never nil and always has a deadline. A transport that
	// keeps it after Complete must have called its Done before.
	Context context.Context
	Topic   string
	// Partition is a partition, or AnyPartition.
	Partition int32
	// Key is nil if there is none.
	Key []byte
	// Timestamp is zero if the transport chooses it.
	Timestamp time.Time
	// UUID is that of the watermill message; "" for none.
	UUID string
	// Headers keep their order on the wire. Names may repeat. None is a reserved name, see
	// IsDirective.
	Headers []Header
	Payload []byte
	// Index is the position of the message in the batch, for the sink.
	Index int
	// Sink receives the outcome.
	Sink Sink
}

// Complete reports the outcome. A transport must call it exactly once for each Outgoing, from any
// goroutine, and must not hold a lock that Publish needs. Afterwards the Outgoing does not belong
// to the transport, and neither does the batch after its last one: their memory is used again.
func (o *Outgoing) Complete(r Outcome) { o.Sink.Published(o, r) }

// Outcome is the result of publishing one message.
type Outcome struct {
	// Partition and Offset say where the record is, if Err is nil and the transport has
	// partitions and offsets. Otherwise they are -1.
	Partition int32
	Offset    int64
	// Err is nil if and only if the log has the message.
	Err error
}

// Failed returns the outcome of a message that is not in the log, or may not be.
func Failed(err error) Outcome { return Outcome{Partition: -1, Offset: -1, Err: err} }

// Sink receives outcomes. Published does not block.
type Sink interface {
	Published(*Outgoing, Outcome)
}

// The reserved names. Metadata of a watermill message under these names says how the message is
// published, and is not part of it. Package bus applies and removes it, so a transport does not
// see it. A transport without native keys carries the key under KeyDirective.
const (
	// KeyDirective has the key. Package bus sets it in the message of a delivery, too.
	KeyDirective = "trunkline-key"
	// PartitionDirective has the partition, in decimal.
	PartitionDirective = "trunkline-partition"
	// TimestampDirective has the timestamp, in RFC 3339 with nanoseconds.
	TimestampDirective = "trunkline-timestamp"
)

// IsDirective reports whether name is one of the reserved names.
func IsDirective(name string) bool {
	return len(name) > 10 && name[:10] == "trunkline-" &&
		(name == KeyDirective || name == PartitionDirective || name == TimestampDirective)
}
