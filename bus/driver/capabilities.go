package driver

import "time"

// Capabilities reports what a transport supports. It must not change during the life of the
// transport. If an option needs a capability that is missing, package bus returns an error with
// [CodeUnsupported]. It never ignores an option.
type Capabilities struct {
	// Name is the name of the transport: "kafka", "memory", "chan".
	Name string

	// Ordered: the records of a partition arrive in the order they were published.
	// Without it, order by partition and order by key are unsupported.
	Ordered bool
	// Keys: consumers get the key of a record. Without it order by key is unsupported.
	Keys bool
	// HeaderOrder: the headers of a record arrive in their order, and a name may occur twice.
	// Without it, publishing a record in which a name occurs twice is unsupported.
	HeaderOrder bool
	// Partitions: topics can have more than one partition, a publisher may choose one, and a
	// subscription without a group may read only some.
	Partitions bool
	// Groups: the members of a group share the partitions of a topic. When a member leaves or dies,
	// the other members get its partitions.
	Groups bool
	// Replay: the log is stored, so a subscription may start at the oldest record, at an offset or
	// at a time. Without it a subscription gets only what is published while it exists.
	Replay bool
	// Redelivery: messages that were not acknowledged when their subscription ended are delivered
	// again, to a later subscription or to another member of the group.
	Redelivery bool
	// CrossProcess: the transport connects different processes.
	CrossProcess bool
	// Durable: an acknowledged message survives the end of the process.
	Durable bool
	// Topics: topics must exist before they are used, and the transport implements [Admin].
	// Without it every name is a topic.
	Topics bool
	// DirectAck: the transport returns a record only after the one before is committed, so a
	// window greater than 1 has no effect.
	DirectAck bool

	// CommitInterval is the default of bus.CommitInterval: how long package bus gathers
	// acknowledgements before it calls Commit. With 0 it calls Commit for each one.
	CommitInterval time.Duration
	// MaxMessageBytes is the size of the largest message that the transport accepts: key, payload,
	// UUID, header names and values. 0 means that the transport has no limit of its own.
	MaxMessageBytes int
}
