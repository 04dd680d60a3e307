package driver

import "context"

// Admin is implemented by a transport whose topics are made and removed
// (Capabilities.Topics).
type Admin interface {
	// CreateTopic makes the topic and waits under ctx until it can be used.
	// CodeAlreadyExists when it is there, whatever its configuration.
	CreateTopic(ctx context.Context, spec TopicSpec) error
	// DeleteTopic removes the topic and what is in it; CodeNotFound when it isn't there.
	DeleteTopic(ctx context.Context, topic string) error
	// DescribeTopic returns what the topic is like; CodeNotFound when it isn't there.
	DescribeTopic(ctx context.Context, topic string) (TopicInfo, error)
	// ListTopics returns every topic's name, sorted, without the transport's own.
	ListTopics(ctx context.Context) ([]string, error)
}

// TopicSpec describes a topic that is to be made.
type TopicSpec struct {
	Name string
	// Partitions is how many; 0 is the transport's default.
	Partitions int32
	// ReplicationFactor is how many copies; 0 is the broker's default. Transports
	// without replication take any.
	ReplicationFactor int16
	// Config holds the transport's own settings by name ("retention.ms").
	Config map[string]string
}

// TopicInfo describes a topic that exists.
type TopicInfo struct {
	Name       string
	Partitions int32
	// Layout says where the partitions are, in the order of their ids; nil where a
	// transport has no such thing as replicas.
	Layout []PartitionInfo
	// Config holds the topic's settings as they apply, by name, without those that the
	// broker keeps secret; nil where there are none, or where they may not be read.
	Config map[string]string
}

// PartitionInfo says which brokers have a partition.
type PartitionInfo struct {
	ID int32
	// Leader is the broker that serves it, -1 when there is none now.
	Leader int32
	// Replicas are the brokers that should have a copy, InSync those whose copy is
	// complete, both sorted.
	Replicas []int32
	InSync   []int32
}

// PartitionAdder is implemented by a transport whose topics may grow.
type PartitionAdder interface {
	// AddPartitions raises the topic's number of partitions to total and waits under ctx
	// until all can be used. CodeInvalidArgument when it has as many or more; CodeNotFound when it
	// isn't there. From then on most keys go to other partitions than before.
	AddPartitions(ctx context.Context, topic string, total int32) error
}
