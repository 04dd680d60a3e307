package driver

import (
	"context"
	"time"
)

// Checker is implemented by a transport that can check its brokers and topics one by one.
type Checker interface {
	// Check checks every broker and the topics of spec. It must return when ctx ends, ask all
	// brokers concurrently, and apply a separate time-out to each of them. It reports every problem
	// in the Health, even if it cannot reach any broker.
	Check(ctx context.Context, spec CheckSpec) Health
}

// CheckSpec is what a health check checks, and what it requires. The zero CheckSpec checks the
// brokers only, and requires one of them to answer.
type CheckSpec struct {
	// Topics are the topics that must exist, with a leader for each partition.
	Topics []string
	// MinBrokers is how many brokers must answer. The default is 1.
	MinBrokers int
	// MinInSync is how many in-sync replicas each partition must have. The default is 1. Set it
	// to the topics' min.insync.replicas: with fewer, publishing fails.
	MinInSync int
	// BrokerTimeout is how long each broker has to answer. The default is 1 s.
	BrokerTimeout time.Duration
}

// Health is the result of a health check.
type Health struct {
	// Err is nil if and only if everything that the CheckSpec requires works. Otherwise it
	// says in one line what does not work.
	Err error
	// Warning says in one line what works, but with less redundancy than configured. It is "" if
	// there is nothing to report. It may be set together with Err.
	Warning string
	// Brokers are sorted by ID, those whose ID is not known first.
	Brokers []BrokerHealth
	// Topics are in the order of the CheckSpec.
	Topics []TopicHealth
}

// BrokerHealth is the result for one broker.
type BrokerHealth struct {
	// ID is -1 if it is not known, as for an address that did not answer.
	ID int32
	// Addr is "" for a broker that has replicas, but is not in the cluster's metadata now.
	Addr string
	// Latency is how long the broker took to answer, including the connection.
	Latency time.Duration
	// Err is nil if and only if the broker answered.
	Err error
}

// TopicHealth is the result for one topic.
type TopicHealth struct {
	Name string
	// Err is nil if and only if the topic has what the CheckSpec requires.
	Err error
	// Warning says what works, but with less redundancy than configured; "" for nothing.
	Warning string
	// Partitions are sorted by ID. There are none if the topic could not be checked.
	Partitions []PartitionInfo
}
