package driver

import (
	"context"
	"time"
)

// Checker is implemented by a transport that can look at the health of what is behind
// it, beyond a Ping.
type Checker interface {
	// Check looks at every broker and at the topics of spec. It must end with ctx, ask all
	// brokers at once, and give each its own time-out. What it finds is in the answer,
	// failure to reach anything included.
	Check(ctx context.Context, spec CheckSpec) Health
}

// CheckSpec says what a health check is to look at, and what is enough. The zero
// CheckSpec looks at the brokers only and wants one of them.
type CheckSpec struct {
	// Topics are those that have to be there, with a leader for each partition.
	Topics []string
	// MinBrokers is how many healthy brokers are enough; 0 is 1.
	MinBrokers int
	// MinInSync is how many replicas in sync are enough for each partition; 0 is 1. Set
	// it to the topics' min.insync.replicas: with fewer, publishing fails.
	MinInSync int
	// BrokerTimeout bounds the wait for each broker; 0 is a second.
	BrokerTimeout time.Duration
}

// HealthStatus is how things are.
type HealthStatus uint8

// The health states.
const (
	// HealthOK: all is as it should be.
	HealthOK HealthStatus = iota
	// HealthWarning: everything works, with less to spare than there should be.
	HealthWarning
	// HealthCritical: something does not work.
	HealthCritical
)

// String returns OK, WARNING or CRITICAL.
func (s HealthStatus) String() string {
	switch s {
	case HealthOK:
		return "OK"
	case HealthWarning:
		return "WARNING"
	case HealthCritical:
		return "CRITICAL"
	default:
		return "invalid"
	}
}

// Health is the result of a health check.
type Health struct {
	Status HealthStatus
	// Message says in one line why Status is what it is; the worst comes first.
	Message string
	// Brokers are sorted by id, those whose id is not known first.
	Brokers []BrokerHealth
	// Topics are in the order of the CheckSpec.
	Topics []TopicHealth
}

// BrokerHealth is what was found of one broker.
type BrokerHealth struct {
	// ID is -1 when it is not known, as for an address that did not answer.
	ID int32
	// Addr is "" for a broker that has replicas and that the others do not know now.
	Addr string
	// Latency is how long it took to answer, its connection included.
	Latency time.Duration
	// Err is nil if and only if it answered.
	Err error
}

// TopicHealth is what was found of one topic.
type TopicHealth struct {
	Name   string
	Status HealthStatus
	// Message says in one line what is wrong, "" when nothing is.
	Message string
	// Partitions are sorted by id; none when the topic could not be looked at.
	Partitions []PartitionInfo
}
