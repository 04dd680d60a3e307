package driver

import (
	"context"
	"time"
)

// Transport connects a bus to something that carries messages. All methods may be
// called from many goroutines at once.
type Transport interface {
	// Capabilities says what it can do; always the same.
	Capabilities() Capabilities

	// Publish hands the batch over, in order: messages of one batch to one partition
	// must be appended in the batch's order, and after those of an earlier Publish
	// that returned. It may block for room, as long as each message's Context allows,
	// but must not wait for outcomes that come from elsewhere. Each message is
	// completed exactly once, before or after Publish returns. A message that can't
	// be sent is completed with its error, and does not keep the others from being sent.
	//
	// While the connection is gone the transport must not queue without bound. A
	// message it gives up on is completed with Unavailable when it is known not to be
	// in the log, otherwise with CodeOutcomeUnknown.
	Publish(batch []Outgoing)

	// Subscribe begins to take part in reading a topic. It must fail at once for what
	// only the local side can know to be wrong, and must not wait for a broker: the
	// session connects in the background and goes on trying. ctx bounds this call
	// only, not the session's life.
	Subscribe(ctx context.Context, s Subscription) (Session, error)

	// Ready waits until the transport can talk to its broker, or ctx ends: then it
	// returns why not, as far as it is known. Refused credentials it returns at once.
	Ready(ctx context.Context) error

	// Ping makes a round trip to the broker now, without touching any topic, and
	// returns nil if and only if that worked. It must end with ctx. A transport that
	// has no broker and can't lose one returns nil; one that can't know returns
	// CodeUnsupported.
	Ping(ctx context.Context) error

	// Observe registers the one observer of the connection, before anything else is
	// called, and calls it at once with the present state. The transport then calls
	// it for every change, in order, never two at a time. observe does not block.
	// After Close it is not called again.
	Observe(observe func(Connection))

	// Close stops taking messages (Publish completes them with Closed), flushes what
	// it was given, ends sessions that are still there and lets go of everything. When
	// ctx ends it gives up on flushing, completes what is left with CodeOutcomeUnknown, and
	// returns the context's error. It is idempotent; later calls wait for the first.
	Close(ctx context.Context) error
}

// Connection is the state of a transport's connection to its broker.
type Connection struct {
	State ConnectionState
	// Cause says why it is not connected; nil when it is, or never was yet.
	Cause error
	// Since is when the state began.
	Since time.Time
}

// ConnectionState is what a transport knows of its connection. It is level, not
// edge: the latest one holds.
type ConnectionState uint8

// The connection states.
const (
	// Connecting: not connected yet, and no attempt has failed.
	Connecting ConnectionState = iota
	// Connected: at least one broker answers.
	Connected
	// Disconnected: every connection is gone or refused. The transport is trying.
	Disconnected
	// Refused: the broker does not let us in. Tried again slowly.
	Refused
)

// String returns the state's name.
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

// Subscription says what a session is to read. Package bus has checked it against
// the transport's capabilities.
type Subscription struct {
	Topic string
	// Group is the consumer group, "" for none: then the session sees every
	// partition (or those in Partitions) and commits nothing.
	Group string
	// Start applies to partitions without a committed position.
	Start Start
	// Partitions restricts a session without a group to these; nil is all, and
	// includes those that are added later.
	Partitions []int32
	// MaxFetch is how many records package bus wants of one Fetch at the most, at
	// least 1. It bounds what a transport needs to buffer for a partition.
	MaxFetch int
}

// Start says where reading begins.
type Start struct {
	Kind StartKind
	// Offset is for StartAtOffset.
	Offset int64
	// Time is for StartAtTime: the first record whose timestamp is not before it.
	Time time.Time
}

// StartKind is the kind of a Start.
type StartKind uint8

// The kinds of start.
const (
	// StartOldest: the oldest record that is still there.
	StartOldest StartKind = iota
	// StartNewest: the end as it is when the partition is assigned, resolved to a
	// number before the session says that it is assigned.
	StartNewest
	// StartAtOffset: an offset. One that is not in the log is an CodeOutOfRange error.
	StartAtOffset
	// StartAtTime: a time.
	StartAtTime
)

// Session is one member's reading of one topic. One goroutine calls Next.
type Session interface {
	// Next returns the next change of the assignment, and waits for one under ctx.
	// The first Event with Assigned says that the subscription is ready, every
	// partition in it positioned: a record published after Next returned is seen.
	// Losing the broker is an Event, not an error; the session must reconnect by
	// itself and go on after the last record it fetched. An error other than ctx's is
	// final: it says why the session ended (CodeNotFound for a topic that does not exist,
	// Closed after Close). While a subscription drains nobody calls Next; the session
	// must go on revoking all the same.
	Next(ctx context.Context) (Event, error)
	// Close leaves. Package bus has released every partition first, unless ctx ended
	// before. It must be bounded by ctx, and is idempotent.
	Close(ctx context.Context) error
}

// Event is a change of a session's assignment.
type Event struct {
	// Assigned: the session holds an assignment, which may be empty of partitions.
	// If not, it has lost it: no partition will come until it is assigned again.
	Assigned bool
	// Added are the partitions that are new in this assignment. Those it had before
	// and still has are not named again; those it lost say so by their Context.
	Added []Partition
	// Cause says why the assignment was lost.
	Cause error
}

// Partition is one claim of a partition, from its assignment until it is revoked
// or released. Fetch is called by one goroutine; Commit by one at a time; both may
// be at once.
type Partition interface {
	// ID is the partition's number; 0 where there is only one.
	ID() int32
	// Context ends when the claim is revoked, or its session lost or closed, with the
	// cause. It bounds the messages' handlers.
	Context() context.Context
	// Fetch returns the next records, at least one, in the order of the log, and waits
	// for them under ctx and Context. It never returns a record twice. Each record's
	// Offset is greater than the one before; there may be gaps. The slice is the
	// caller's until the next Fetch, which may use it again; what the records point to
	// stays as it is.
	Fetch(ctx context.Context) ([]Record, error)
	// Commit makes next the group's position: everything below it is acknowledged.
	// It returns nil only when the position would survive this process. Positions
	// never go back. Without a group it does nothing. After the claim has ended it
	// fails with Revoked, unless the transport still grants it while revoking (see
	// Release). metadata goes with the position where the transport can keep it.
	Commit(ctx context.Context, next int64, metadata string) error
	// Release says that no handler of this claim runs any more and that no Commit will
	// come. A transport that revokes a claim must wait for it before another member
	// gets the partition, for as long as its protocol allows, and should grant Commit
	// until then. Idempotent.
	Release()
}
