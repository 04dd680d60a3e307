package driver

import (
	"context"
	"time"
)

// Transport connects a bus to a log or a broker. All methods must be safe for concurrent use.
type Transport interface {
	// Capabilities returns what the transport supports. The result never changes.
	Capabilities() Capabilities

	// Publish passes a batch to the transport. In each partition the transport must append the
	// messages in the order of the batch, and after those of an earlier Publish that returned.
	// Publish may block until there is space for a message, at most until the Context of the
	// message ends. It must not wait for outcomes. The transport must complete each message exactly
	// once, before or after Publish returns. If it cannot send a message, it completes that message
	// with an error and sends the others.
	//
	// While there is no connection the transport must bound its queue. When it stops trying to send
	// a message, it completes the message with CodeUnavailable if the log certainly does not have
	// it, otherwise with CodeOutcomeUnknown.
	Publish(batch []Outgoing)

	// Subscribe begins to read a topic. For a mistake of the caller it must return an error at
	// once. It must not wait for a broker: the session connects in the background and keeps trying.
	// ctx bounds this call only, not the life of the session.
	Subscribe(ctx context.Context, s Subscription) (Session, error)

	// Ready waits until the broker answers. If ctx ends first, the error says why the broker is
	// not available, as far as that is known. If the broker rejects the credentials, Ready returns
	// that error at once.
	Ready(ctx context.Context) error

	// Ping makes a round trip to the broker, without a topic, and returns nil if and only if
	// that succeeded. It must return when ctx ends. A transport without a broker returns nil. A
	// transport that cannot reach its broker on request returns an error with CodeUnsupported.
	Ping(ctx context.Context) error

	// Observe sets the observer of the connection. Package bus calls it once, before any other
	// method. The transport calls observe at once with the current state, and then with every
	// change, in order; the calls must not overlap. observe does not block. The transport does
	// not call it after Close.
	Observe(observe func(Connection))

	// Close closes the transport. From then on Publish completes all messages with CodeClosed.
	// Close sends the messages that were accepted, ends the sessions that remain, and releases all
	// resources. If ctx ends first, Close completes the remaining messages with CodeOutcomeUnknown
	// and returns the error of ctx. Close is idempotent; later calls wait for the first.
	Close(ctx context.Context) error
}

// Connection is the state of a transport's connection to its broker.
type Connection struct {
	State ConnectionState
	// Cause is why there is no connection. It is nil while there is one, and before the first
	// attempt has failed.
	Cause error
	// Since is when the state began.
	Since time.Time
}

// ConnectionState is the state of a connection.
type ConnectionState uint8

// The connection states.
const (
	// Connecting: there is no connection yet, and no attempt has failed.
	Connecting ConnectionState = iota
	// Connected: at least one broker answers.
	Connected
	// Disconnected: no broker answers. The transport keeps trying.
	Disconnected
	// Refused: the broker rejects the credentials. The transport tries again slowly.
	Refused
)

// String returns the name of the state.
func (s ConnectionState) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Disconnected:
		return "disconnected"
	case Refused:
		return "refused"
	default:
		return "invalid"
	}
}

// Subscription describes what a session reads. Package bus checks it against the capabilities of
// the transport before it calls Subscribe.
type Subscription struct {
	Topic string
	// Group is the consumer group. Without one ("") the session gets every partition, or those
	// in Partitions, and commits nothing.
	Group string
	// Start applies to partitions without a committed offset.
	Start Start
	// Partitions restricts a session without a group to these partitions. nil means all,
	// including those that are added later.
	Partitions []int32
	// MaxFetch is the largest number of records that one Fetch may return, at least 1. It bounds
	// what a transport must buffer for a partition.
	MaxFetch int
}

// Start is where reading begins.
type Start struct {
	Kind StartKind
	// Offset is for StartAtOffset.
	Offset int64
	// Time is for StartAtTime: reading begins at the first record whose timestamp is not before it.
	Time time.Time
}

// StartKind is the kind of a Start.
type StartKind uint8

// The kinds of start.
const (
	// StartOldest is the oldest record of the log.
	StartOldest StartKind = iota
	// StartNewest is the end of the log when the partition is assigned. The session must determine
	// its offset before Next returns the assignment.
	StartNewest
	// StartAtOffset is an offset. If the log does not have it, the error has CodeOutOfRange.
	StartAtOffset
	// StartAtTime is a time.
	StartAtTime
)

// Session reads one topic, as one member of a group or without a group. Only one goroutine calls
// Next.
type Session interface {
	// Next waits, under ctx, for the next change of the assignment. The first Event whose Assigned is
	// true means that the subscription is ready: the start offset of every partition in it is known,
	// and the partitions will return every record that is published after Next returned.
	//
	// If the session loses its broker, Next returns an Event and not an error. The session must
	// reconnect and continue after the last record that it fetched. Any error except that of ctx is
	// final and says why the session ended: CodeNotFound for a topic that does not exist, CodeClosed
	// after Close. During a drain package bus does not call Next, but the session must still revoke
	// partitions.
	Next(ctx context.Context) (Event, error)
	// Close leaves the group and ends the session. Package bus releases every partition before it
	// calls Close. Close must return when ctx ends. It must be idempotent.
	Close(ctx context.Context) error
}

// Event is a change of the assignment of a session.
type Event struct {
	// Assigned is true if the session has an assignment, which may be empty. It is false if the
	// session has lost its assignment.
	Assigned bool
	// Added are the partitions that are new in this assignment. It does not have the partitions
	// that the session keeps. The Context of a partition that the session lost has ended.
	Added []Partition
	// Cause is why the session lost its assignment.
	Cause error
}

// Partition is one claim of a partition, from its assignment until it is revoked or released.
// Only one goroutine calls Fetch. Calls of Commit do not overlap, but may overlap with Fetch.
type Partition interface {
	// ID is the number of the partition; 0 on a transport that has only one.
	ID() int32
	// Context ends when the partition is revoked, and when its session is lost or closed;
	// context.Cause then returns the reason. The contexts of handlers end with it.
	Context() context.Context
	// Fetch waits, under ctx and Context, for records, and returns at least one, in the order of
	// the log. It never returns a record twice. Offsets increase and may have gaps. The slice
	// belongs to the caller until the next Fetch, which may reuse it. The bytes and headers that
	// the records refer to must not change.
	Fetch(ctx context.Context) ([]Record, error)
	// Commit stores next as the committed offset of the group: everything below it is acknowledged.
	// It returns nil only if the next member of the group starts there. Committed offsets never
	// decrease. Without a group Commit has no effect. After the claim has ended the error has
	// CodeRevoked, unless the transport permits commits during the revocation (see Release). The
	// transport stores metadata with the offset if it supports that.
	Commit(ctx context.Context, next int64, metadata string) error
	// Release ends the claim. Package bus calls it when no handler of the claim runs any more and no
	// Commit will follow. After a transport revokes a partition, it must wait for Release before it
	// assigns the partition to another member, for as long as its protocol permits. It should permit
	// Commit until Release. Release must be idempotent.
	Release()
}
