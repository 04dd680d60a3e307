package driver

import "context"

// Admin creates, deletes and describes topics. A transport with Capabilities.Topics must
// implement it.
type Admin interface {
	// CreateTopic creates the topic and waits, under ctx, until it can be used. The error has
	// CodeAlreadyExists if the topic exists, even if its configuration differs from spec.
	CreateTopic(ctx context.Context, spec TopicSpec) error
	// DeleteTopic deletes the topic and its records. The error has CodeNotFound if there is no
	// such topic.
	DeleteTopic(ctx context.Context, topic string) error
	// DescribeTopic describes the topic. The error has CodeNotFound if there is no such topic.
	DescribeTopic(ctx context.Context, topic string) (TopicInfo, error)
	// ListTopics returns the names of all topics, sorted, without the transport's internal ones.
	ListTopics(ctx context.Context) ([]string, error)
}

// TopicSpec describes a topic to create.
type TopicSpec struct {
	Name string
	// Partitions is the number of partitions; 0 means the default of the transport.
	Partitions int32
	// ReplicationFactor is the number of copies; 0 means the default of the broker. Transports
	// without replication accept any value.
	ReplicationFactor int16
	// Config has settings of the topic by name, such as "retention.ms". The transport defines them.
	Config map[string]string
}

// TopicInfo describes a topic that exists.
type TopicInfo struct {
	Name       string
	Partitions int32
	// Layout has the brokers of each partition, ordered by ID; nil on a transport without replicas.
	Layout []PartitionInfo
	// Config has the effective settings of the topic by name, without those that the broker
	// keeps secret. It is nil if there are no settings, or no permission to read them.
	Config map[string]string
}

// PartitionInfo has the brokers of a partition.
type PartitionInfo struct {
	ID int32
	// Leader is the ID of the broker that serves the partition; -1 if there is none now.
	Leader int32
	// Replicas are the IDs of the brokers that should have a copy. InSync are the IDs of those
	// whose copy is complete. Both are sorted.
	Replicas []int32
	InSync   []int32
}

// PartitionAdder is implemented by a transport whose topics can grow.
type PartitionAdder interface {
	// AddPartitions increases the number of partitions to total, and waits, under ctx, until all
	// can be used. The error has CodeInvalidArgument if the topic already has total partitions or
	// more, and CodeNotFound if there is no such topic. New records of most keys go to another
	// partition than before.
	AddPartitions(ctx context.Context, topic string, total int32) error
}
