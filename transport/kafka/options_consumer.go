package kafka

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// consumerOptions configures how records are read and how groups are joined.
type consumerOptions struct {
	balance       Balance
	instanceID    string // "" without static membership
	rack          string
	readCommitted bool
	fetch         Fetch
}

// Balance is a strategy by which the members of a group divide the partitions.
type Balance uint8

// The balance strategies.
const (
	// CooperativeSticky moves as few partitions as possible. A rebalance stops only the
	// partitions that move. Every member of the group must support it. While one member
	// does not (for example a service on another library with its default settings), the
	// session uses [Range]. It returns to CooperativeSticky at the first rebalance without
	// that member.
	CooperativeSticky Balance = iota
	// Range gives each member a contiguous range of partitions. Every rebalance stops all
	// partitions. It is the default of sarama and watermill-kafka.
	Range
	// RoundRobin assigns the partitions to the members in turn. Every rebalance stops all
	// partitions.
	RoundRobin
	// Sticky divides the partitions like CooperativeSticky. Every rebalance stops all
	// partitions.
	Sticky
)

// WithBalance sets how the members of a group divide the partitions. The default is
// CooperativeSticky, or [Range] while a member does not support that. Members of one group
// must have a strategy in common: the subscription of a member that has none fails with
// InvalidArgument.
//
// A member that supports only cooperative-sticky keeps out members that do not support it.
// Before you move a service to a library without that strategy, deploy the service with
// Range.
func WithBalance(b Balance) Option {
	return func(o *options) error {
		if b > Sticky {
			return invalid(fmt.Sprintf("balance must be one of this package's strategies, got %d", b))
		}
		o.consumer.balance = b
		return nil
	}
}

// WithStaticMembership makes each subscription with a group a static member of it. The
// group instance ID of the member consists of id and the topic, and of a number if the
// transport has several subscriptions to that topic and group. A static member does not
// leave the group when it closes. If it returns within the session time-out, it gets its
// partitions again without a rebalance. id must be unique to the process and stay the same
// when the process restarts, such as the name of a pod in a stateful set. If two members
// use the same ID, the group keeps the later one.
func WithStaticMembership(id string) Option {
	return func(o *options) error {
		if !isLegalName(id) {
			return invalid("group instance ID must have 1 to 249 letters, digits, '.', '_' or '-'")
		}
		o.consumer.instanceID = id
		return nil
	}
}

// WithRack sets the location of this process, as a name that brokers use as broker.rack.
// Brokers with a replica selector then let the transport read from a replica nearby.
func WithRack(rack string) Option {
	return func(o *options) error {
		o.consumer.rack = rack
		return nil
	}
}

// WithReadCommitted skips the records of aborted transactions and waits for transactions
// that are still open. By default all records are delivered when they arrive.
func WithReadCommitted() Option {
	return func(o *options) error {
		o.consumer.readCommitted = true
		return nil
	}
}

// Fetch sets how much the transport requests at a time. A field that is 0 keeps its
// default.
type Fetch struct {
	// MinBytes is the amount of data that a broker waits for before it answers. The
	// default is 1.
	MinBytes int32
	// Bytes is the amount of data to request from each partition. A larger record is still
	// delivered, alone. The default is 1 MiB.
	Bytes int32
	// Wait is how long a broker waits for MinBytes. It does not delay the delivery of new
	// records. It delays other requests on the same connection. It must be at most three
	// quarters of [Timeouts].Request. The default is 250 ms.
	Wait time.Duration
}

// WithFetch sets each field of f that is not 0. MinBytes and Bytes must not be negative,
// and Wait must be at least 1 ms.
func WithFetch(f Fetch) Option {
	return func(o *options) error {
		if f.MinBytes < 0 || f.Bytes < 0 || f.Wait < 0 || (f.Wait > 0 && f.Wait < time.Millisecond) {
			return invalid(fmt.Sprintf("fetch: sizes must not be negative and the wait must be 0 for the default, or at least 1ms; got %+v", f))
		}
		to := &o.consumer.fetch
		if f.MinBytes > 0 {
			to.MinBytes = f.MinBytes
		}
		if f.Bytes > 0 {
			to.Bytes = f.Bytes
		}
		if f.Wait > 0 {
			to.Wait = f.Wait
		}
		return nil
	}
}

func (r consumerOptions) apply(c *sarama.Config) {
	c.RackID = r.rack
	if r.readCommitted {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	c.Consumer.Fetch.Min = r.fetch.MinBytes
	c.Consumer.Fetch.Default = r.fetch.Bytes
	c.Consumer.Fetch.Max = 0 // with a limit, sarama skips records that are larger
	c.Consumer.MaxWaitTime = r.fetch.Wait
}
