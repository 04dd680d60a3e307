package driver

import (
	"context"
	"time"
)

// Header is one name and value that travels with a record. The value may be any
// bytes, kept in a string because strings don't change.
type Header struct {
	Key   string
	Value string
}

// Record is one entry of a transport's log.
type Record struct {
	// Topic, Partition and Offset say where it stands. A transport without offsets
	// numbers the records of each Partition 0, 1, 2, … as Fetch returns them.
	Topic     string
	Partition int32
	Offset    int64
	// Key is nil when it has none.
	Key []byte
	// Timestamp is when it was published, or appended: the transport says which. Logs keep
	// no time zones: compare it with Equal.
	Timestamp time.Time
	// UUID is the watermill message's; "" for a record from a publisher that is not
	// watermill's, which is valid.
	UUID string
	// Headers are in the order of the wire, names may repeat.
	Headers []Header
	Payload []byte
	// DecodeErr is set when the bytes could not be made into a message. Payload,
	// Key and Headers then hold what was on the wire.
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

// AnyPartition leaves the choice of the partition to the transport: by key, as
// Java's default partitioner does it, or any when there is no key.
const AnyPartition int32 = -1

// Outgoing is a message on its way into the log: what will be a Record. The transport
// must not change what it refers to, and what it keeps of that after Complete it must
// copy.
type Outgoing struct {
	// Context ends the wait for room: when it ends before the message was handed
	// over, the transport must complete it with Canceled or CodeDeadlineExceeded. After
	// that the transport may ignore it. Never nil; it always has a deadline. Who keeps it
	// beyond Complete must have called its Done before.
	Context context.Context
	Topic   string
	// Partition is a number, or AnyPartition.
	Partition int32
	// Key is nil when it has none.
	Key []byte
	// Timestamp is zero when the transport is to choose.
	Timestamp time.Time
	// UUID is the watermill message's; "" for none.
	UUID string
	// Headers are to keep their order on the wire; names may repeat. None has the name of a
	// directive.
	Headers []Header
	Payload []byte
	// Index is the message's place in the batch, for the sink.
	Index int
	// Sink is told the outcome.
	Sink Sink
}

// Complete tells the outcome. A transport must call it exactly once for each
// Outgoing, from any goroutine, and must not hold a lock that Publish needs. The
// Outgoing is not the transport's any more then, and neither is the batch when that was
// its last: their memory is used again.
func (o *Outgoing) Complete(r Outcome) { o.Sink.Published(o, r) }

// Outcome is what became of one message.
type Outcome struct {
	// Partition and Offset say where it is, when Err is nil and the transport has
	// such things; otherwise they are -1.
	Partition int32
	Offset    int64
	// Err is nil if and only if the log has the message.
	Err error
}

// Failed is the outcome of a message that is not in the log, or of which that is
// not known.
func Failed(err error) Outcome { return Outcome{Partition: -1, Offset: -1, Err: err} }

// Sink receives outcomes. Published does not block.
type Sink interface {
	Published(*Outgoing, Outcome)
}

// Metadata under these names directs how a watermill message is published, and is not
// part of it. Package bus makes of it what it means, so that a transport does not see
// it; one without native keys carries the key under KeyDirective.
const (
	// KeyDirective holds the key. Package bus sets it on delivery too.
	KeyDirective = "trunkline-key"
	// PartitionDirective holds an explicit partition, in decimal.
	PartitionDirective = "trunkline-partition"
	// TimestampDirective holds the record's time, RFC 3339 with nanoseconds.
	TimestampDirective = "trunkline-timestamp"
)

// IsDirective says whether metadata under name directs publishing and is no header of
// the record.
func IsDirective(name string) bool {
	return len(name) > 10 && name[:10] == "trunkline-" &&
		(name == KeyDirective || name == PartitionDirective || name == TimestampDirective)
}
