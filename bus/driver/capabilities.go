package driver

import "time"

// Capabilities says what a transport supports. It is constant for the life of the transport.
// Package bus returns an error with [CodeUnsupported] for an option that needs what is missing; it
// never ignores one.
type Capabilities struct {
	// Name of the transport: "kafka", "memory", "chan".
	Name string

	// Ordered: the records of a partition arrive in the order they were published.
	// Without it, order by partition and order by key are unsupported.
	Ordered bool
	// Keys: a record's key travels with it. Without it order by key is unsupported.
	Keys bool
	// HeaderOrder: the headers of a record arrive in their order, and a name may occur twice.
	// Without it, publishing a record in which a name occurs twice is unsupported.
	HeaderOrder bool
	// Partitions: topics can have more than one partition, a publisher may choose one, and a
	// subscription without a group may read only some.
	Partitions bool
	// Groups: the members of a group share the partitions of a topic, and the partitions of a
	// member go to the others when it leaves or dies.
	Groups bool
	// Replay: the log is stored, so a subscription may start at the oldest record, at an offset or
	// at a time. Without it a subscription gets only what is published while it exists.
	Replay bool
	// Redelivery: messages that were not acknowledged when the process died are delivered again,
	// to it or to another member of its group.
	Redelivery bool
	// CrossProcess: the transport connects different processes.
	CrossProcess bool
	// Durable: an acknowledged message survives the end of the process.
	Durable bool
	// Topics: topics must exist before they are used, and the transport implements [Admin].
	// Without it every name is a topic.
	Topics bool
	// DirectAck: the transport returns the next record only after the last one is committed, so a
	// window greater than 1 has no effect.
	DirectAck bool

	// CommitInterval is how long package bus gathers acknowledgements before it calls Commit, by
	// default. 0 commits each one.
	CommitInterval time.Duration
	// MaxMessageBytes is the size of the largest message that the transport accepts: key, payload,
	// header names and values. 0 means that it has no limit of its own.
	MaxMessageBytes int
}
