package driver

import "context"

// Admin is implemented by a transport whose topics are made and removed
// (Capabilities.Topics).
type Admin interface {
	// CreateTopic makes the topic and waits under ctx until it can be used.
	// AlreadyExists when it is there, whatever its configuration.
	CreateTopic(ctx context.Context, spec TopicSpec) error
	// DeleteTopic removes the topic and what is in it; NotFound when it isn't there.
	DeleteTopic(ctx context.Context, topic string) error
	// DescribeTopic returns what the topic is like; NotFound when it isn't there.
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
}
