package kafka

import (
	"time"

	"github.com/IBM/sarama"
)

// consuming is how records are read and groups are joined.
type consuming struct {
	balance   Balance
	instance  string
	rack      string
	committed bool
	fetch     Fetch
}

// Balance is how the members of a group divide the partitions among them.
type Balance uint8

// The ways to divide partitions.
const (
	// CooperativeSticky moves as few partitions as it can, and only those stop during a
	// rebalance. Every member of the group has to allow it. While one does not (a
	// service on another library, with its defaults) the session takes part with
	// [Range], and comes back to CooperativeSticky at the first rebalance without it.
	CooperativeSticky Balance = iota
	// Range gives each member a run of neighbouring partitions. Every rebalance stops
	// all of them. It is what sarama and watermill-kafka do by default.
	Range
	// RoundRobin deals the partitions out one by one, and stops all of them.
	RoundRobin
	// Sticky is CooperativeSticky's division, with a rebalance that stops all of them.
	Sticky
)

// WithBalance sets how the partitions of a group are divided: CooperativeSticky, where
// every member allows it. Two services that share a group and offer nothing in common
// can't: the later one's subscription ends with InvalidArgument.
//
// A member that allows cooperative-sticky only keeps out those that do not know it. So
// before a service goes back to another library, let it run with Range.
func WithBalance(b Balance) Option {
	return func(o *options) error {
		if b > Sticky {
			return invalid("the balance is not one of the package's")
		}
		o.consuming.balance = b
		return nil
	}
}

// WithStaticMembership makes subscriptions with a group static members, each by an
// instance id made of id, the topic, and a number from the second subscription to that
// topic and group on. A static member does not leave when it closes: one that is back
// within the session time-out has its partitions again without a rebalance. id must be
// another for each process, and the same when it restarts: a stateful set's pod name.
// Of two members with the same id the later one wins.
func WithStaticMembership(id string) Option {
	return func(o *options) error {
		if !legal(id) {
			return invalid("the group instance id is not 1 to 249 letters, digits, '.', '_' and '-'")
		}
		o.consuming.instance = id
		return nil
	}
}

// WithRack says where this process is, by the name that the brokers know as
// broker.rack: brokers with a replica selector then let it read from a replica near by.
func WithRack(rack string) Option {
	return func(o *options) error {
		o.consuming.rack = rack
		return nil
	}
}

// WithReadCommitted leaves out records of transactions that were aborted, and waits
// for those that are not decided. By default they are delivered as they come.
func WithReadCommitted() Option {
	return func(o *options) error {
		o.consuming.committed = true
		return nil
	}
}

// Fetch says how much is asked for at a time. A field that is 0 keeps its default.
type Fetch struct {
	// MinBytes is how much a broker waits for before it answers: 1.
	MinBytes int32
	// Bytes is how much is asked for of each partition: 1 MiB. A record that is larger
	// comes all the same, alone.
	Bytes int32
	// Wait is how long a broker waits for MinBytes: 250 ms. It is no delay for a record
	// that comes, but for what is done on the same connection meanwhile. It must not
	// be over three quarters of [Timeouts].Request.
	Wait time.Duration
}

// WithFetch sets those of the sizes that are not 0.
func WithFetch(f Fetch) Option {
	return func(o *options) error {
		if f.MinBytes < 0 || f.Bytes < 0 || f.Wait < 0 || (f.Wait > 0 && f.Wait < time.Millisecond) {
			return invalid("a fetch size is negative, or the wait is below 1ms")
		}
		to := &o.consuming.fetch
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

func (r consuming) apply(c *sarama.Config) {
	c.RackID = r.rack
	if r.committed {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	c.Consumer.Fetch.Min = r.fetch.MinBytes
	c.Consumer.Fetch.Default = r.fetch.Bytes
	c.Consumer.Fetch.Max = 0 // with a bound sarama skips what is larger
	c.Consumer.MaxWaitTime = r.fetch.Wait
}
