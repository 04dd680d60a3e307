package driver

import (
	"context"
	"time"
)

// Transport connects a bus to something that carries messages. All methods are safe for
// concurrent use.
type Transport interface {
	// Capabilities returns what the transport supports. The result never changes.
	Capabilities() Capabilities

	// Publish passes a batch to the transport. Messages of one batch to one partition must be
	// appended in the order of the batch, and after those of an earlier Publish that returned.
	// Publish may block for space, as long as the Context of each message allows, but must not
	// wait for outcomes that arrive later. The transport must complete each message exactly
	// once, before or after Publish returns. A message that cannot be sent is completed with its
	// error, and does not prevent the others from being sent.
	//
	// While there is no connection the transport must not queue without a bound. It completes a
	// message that it gives up on with CodeUnavailable if the log is known not to have it,
	// otherwise with CodeOutcomeUnknown.
	Publish(batch []Outgoing)

	// Subscribe begins to read a topic. It must return an error at once for what is wrong on
	// this side, and must not wait for a broker: the session connects in the background and
	// keeps trying. ctx bounds this call only, not the life of the session.
	Subscribe(ctx context.Context, s Subscription) (Session, error)

	// Ready waits until the broker answers. When ctx ends first it returns why the broker is not
	// available, as far as that is known. It returns at once if the broker rejects the
	// credentials.
	Ready(ctx context.Context) error

	// Ping makes a round trip to the broker now, without a topic, and returns nil if and only if
	// that succeeded. It must end with ctx. A transport without a broker returns nil; one that
	// cannot know returns CodeUnsupported.
	Ping(ctx context.Context) error

	// Observe sets the observer of the connection. Package bus calls it once, before any other
	// method. The transport calls observe at once with the current state, and then with every
	// change, in order; the calls must not overlap. observe does not block. The transport does
	// not call it after Close.
	Observe(observe func(Connection))

	// Close stops accepting messages: Publish completes them with CodeClosed. It flushes what was
	// accepted, ends the sessions that are left, and releases all resources. When ctx ends Close
	// stops flushing, completes the rest with CodeOutcomeUnknown, and returns the error of ctx.
	// Close is idempotent; later calls wait for the first.
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

// ConnectionState is the state of a connection. Only the latest one holds.
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

// Subscription says what a session reads. Package bus has checked it against the capabilities
// of the transport.
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

// Start says where reading begins.
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
	// StartNewest is the end of the log when the partition is assigned. The session must resolve
	// it to an offset before it reports the assignment.
	StartNewest
	// StartAtOffset is an offset. If the log does not have it, the error has CodeOutOfRange.
	StartAtOffset
	// StartAtTime is a time.
	StartAtTime
)

// Session is the reading of one topic by one member. One goroutine calls Next.
type Session interface {
	// Next waits, under ctx, for the next change of the assignment. The first Event with Assigned
	// means that the subscription is ready: every partition in it has its position, and the
	// session will return every record that is published after Next returned.
	//
	// The loss of the broker is an Event and not an error: the session must reconnect and
	// continue after the last record that it fetched. An error other than that of ctx is final
	// and says why the session ended: CodeNotFound for a topic that does not exist, CodeClosed
	// after Close. During a drain nothing calls Next; the session must revoke partitions
	// nevertheless.
	Next(ctx context.Context) (Event, error)
	// Close leaves the group and ends the session. Package bus has released every partition
	// before, unless ctx ended first. Close must end with ctx, and is idempotent.
	Close(ctx context.Context) error
}

// Event is a change of the assignment of a session.
type Event struct {
	// Assigned is true if the session has an assignment, which may have no partitions. It is
	// false if the session lost its assignment: no partition comes until it has one again.
	Assigned bool
	// Added are the partitions that are new in this assignment. Partitions that the session
	// keeps are not repeated; the Context of those that it lost has ended.
	Added []Partition
	// Cause is why the session lost its assignment.
	Cause error
}

// Partition is one claim of a partition, from its assignment until it is revoked or released.
// One goroutine calls Fetch; calls of Commit do not overlap; both may happen at the same time.
type Partition interface {
	// ID is the number of the partition; 0 on a transport that has only one.
	ID() int32
	// Context ends when the partition is revoked, and when its session is lost or closed, with
	// the cause. The contexts of handlers end with it.
	Context() context.Context
	// Fetch waits, under ctx and Context, for records, and returns at least one, in the order of
	// the log. It never returns a record twice. Offsets increase and may have gaps. The slice
	// belongs to the caller until the next Fetch, which may use it again; what the records refer
	// to does not change.
	Fetch(ctx context.Context) ([]Record, error)
	// Commit makes next the committed offset of the group: everything below it is acknowledged.
	// It returns nil only if the offset survives this process. Committed offsets never decrease.
	// Without a group Commit has no effect. After the claim has ended it returns CodeRevoked,
	// unless the transport still permits commits during the revocation (see Release). metadata is
	// stored with the offset where the transport supports it.
	Commit(ctx context.Context, next int64, metadata string) error
	// Release is called when no handler of the claim runs any more and no Commit will follow. A
	// transport that revokes a partition must wait for it before another member gets the
	// partition, as long as its protocol allows, and should permit Commit until then. Release is
	// idempotent.
	Release()
}
