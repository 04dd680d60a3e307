package driver

import "time"

// Capabilities says what a transport can do. It is constant for the life of the
// transport. Package bus refuses, with [CodeUnsupported], an option that asks for
// what is missing; it never ignores one.
type Capabilities struct {
	// Name of the transport: "kafka", "memory", "chan".
	Name string

	// Ordered: the records of a partition arrive in the order they were published.
	// Without it, order by partition and order by key are unsupported.
	Ordered bool
	// Keys: a record's key travels with it. Without it order by key is unsupported.
	Keys bool
	// HeaderOrder: a record's headers arrive in the order they were published, a name
	// that is there twice included. Without it a record with such a name is unsupported.
	HeaderOrder bool
	// Partitions: topics have more than one partition, a publisher may name one,
	// and a subscription without a group may read only some.
	Partitions bool
	// Groups: subscriptions of one group share a topic's partitions, and a member's
	// partitions go to the others when it leaves or dies.
	Groups bool
	// Replay: the log is kept, so a subscription may start at the oldest record,
	// at an offset or at a time. Without it a subscription sees only what is
	// published while it is subscribed.
	Replay bool
	// Redelivery: what was not acknowledged when the process died is delivered
	// again, to it or to another member of its group.
	Redelivery bool
	// CrossProcess: programs in different processes can talk.
	CrossProcess bool
	// Durable: an acknowledged message survives the end of the process.
	Durable bool
	// Topics: topics have to exist before they are used, and the transport
	// implements [Admin]. Without it any name is a topic at once.
	Topics bool
	// DirectAck: the transport withholds the next record until the last one is
	// committed, so a window over 1 has no effect.
	DirectAck bool

	// CommitInterval is how long package bus may gather acknowledgements before it
	// calls Commit, when the subscription does not say. 0: at each one.
	CommitInterval time.Duration
	// MaxMessageBytes is the largest message it takes, as package bus counts (key,
	// payload, header names and values). 0: it has no limit of its own.
	MaxMessageBytes int
}
