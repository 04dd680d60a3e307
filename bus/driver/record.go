package driver

import (
	"context"
	"time"
)

// Header is one header of a record. The value may have any bytes. It is a string because strings
// are immutable.
type Header struct {
	Key   string
	Value string
}

// Record is one record of a transport's log.
type Record struct {
	// Topic, Partition and Offset are the place of the record in the log. A transport without
	// offsets numbers the records of each partition 0, 1, 2, … in the order of Fetch.
	Topic     string
	Partition int32
	Offset    int64
	// Key is nil if there is none.
	Key []byte
	// Timestamp is the time of publishing or of appending: the transport documents which. Compare
	// timestamps with Equal, because logs do not store time zones.
	Timestamp time.Time
	// UUID is that of the watermill message. It may be "", because other publishers do not set it.
	UUID string
	// Headers are in the order of the wire. Names may repeat.
	Headers []Header
	Payload []byte
	// DecodeErr is not nil if the record could not be decoded. Payload, Key and Headers are then
	// as on the wire.
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

// AnyPartition means that the transport chooses the partition. For a record with a key it chooses
// the same one as the default partitioner of Kafka's Java client; without a key it chooses any.
const AnyPartition int32 = -1

// Outgoing is a message that is being published. The transport must not change the bytes that it
// refers to. If the transport needs a part of it later, it must copy that part before Complete.
type Outgoing struct {
	// Context bounds how long Publish may block for space. If it ends before the transport has
	// begun to send the message, the transport must complete the message with CodeCanceled or
	// CodeDeadlineExceeded. Later the transport may ignore it. It is never nil and always has a
	// deadline. A transport that uses it after Complete must call its Done before Complete, because
	// the bus reuses a context whose Done was never called.
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
	// Headers must keep their order on the wire. Names may repeat. No name is a reserved name, see
	// IsDirective.
	Headers []Header
	Payload []byte
	// Index identifies the message for the Sink. The transport does not use it.
	Index int
	// Sink receives the outcome.
	Sink Sink
}

// Complete reports the outcome. A transport must call it exactly once for each Outgoing, from any
// goroutine, and must not hold a lock that Publish needs. Afterwards the transport must not use
// the Outgoing, because the bus reuses its memory. After the last Complete of a batch it must not
// use the slice either.
func (o *Outgoing) Complete(r Outcome) { o.Sink.Published(o, r) }

// Outcome is the result of publishing one message.
type Outcome struct {
	// Partition and Offset are the place of the record in the log. They are -1 if Err is not nil,
	// and on a transport without partitions and offsets.
	Partition int32
	Offset    int64
	// Err is nil if and only if the log has the message.
	Err error
}

// Failed returns an outcome with err, for a message that is not in the log, or may not be in it.
func Failed(err error) Outcome { return Outcome{Partition: -1, Offset: -1, Err: err} }

// Sink receives outcomes.
type Sink interface {
	// Published is called with the outcome of a message. It does not block.
	Published(*Outgoing, Outcome)
}

// The reserved names. Metadata of a watermill message under these names controls how the bus
// publishes the message. The bus removes it, so it is not in the Headers of an Outgoing. A
// transport whose messages have no key may send the key as a header with the name KeyDirective.
const (
	// KeyDirective is the name for the key. Package bus also sets it in the message of a delivery.
	KeyDirective = "trunkline-key"
	// PartitionDirective is the name for the partition, in decimal.
	PartitionDirective = "trunkline-partition"
	// TimestampDirective is the name for the timestamp, in RFC 3339 with nanoseconds.
	TimestampDirective = "trunkline-timestamp"
)

// IsDirective reports whether name is one of the reserved names.
func IsDirective(name string) bool {
	return len(name) > 10 && name[:10] == "trunkline-" &&
		(name == KeyDirective || name == PartitionDirective || name == TimestampDirective)
}
