package bustest

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
)

// admin returns the transport's Admin. A bus asks for it only where the transport's
// capabilities say that there is one.
func (f *Faults) admin(op, topic string) (driver.Admin, error) {
	if err := f.reach(op, topic); err != nil {
		return nil, err
	}
	if a, ok := f.inner.(driver.Admin); ok {
		return a, nil
	}
	return nil, f.failure(driver.CodeUnsupported, op, topic, "the transport has no topics to make", nil)
}

// CreateTopic is the transport's; Unavailable while the connection is cut.
func (f *Faults) CreateTopic(ctx context.Context, spec driver.TopicSpec) error {
	a, err := f.admin("create topic", spec.Name)
	if err != nil {
		return err
	}
	return a.CreateTopic(ctx, spec)
}

// DeleteTopic is the transport's; Unavailable while the connection is cut.
func (f *Faults) DeleteTopic(ctx context.Context, topic string) error {
	a, err := f.admin("delete topic", topic)
	if err != nil {
		return err
	}
	return a.DeleteTopic(ctx, topic)
}

// DescribeTopic is the transport's; Unavailable while the connection is cut.
func (f *Faults) DescribeTopic(ctx context.Context, topic string) (driver.TopicInfo, error) {
	a, err := f.admin("describe topic", topic)
	if err != nil {
		return driver.TopicInfo{}, err
	}
	return a.DescribeTopic(ctx, topic)
}

// ListTopics is the transport's; Unavailable while the connection is cut.
func (f *Faults) ListTopics(ctx context.Context) ([]string, error) {
	a, err := f.admin("list topics", "")
	if err != nil {
		return nil, err
	}
	return a.ListTopics(ctx)
}

// AddPartitions is the transport's; Unavailable while the connection is cut, Unsupported
// where topics can't grow.
func (f *Faults) AddPartitions(ctx context.Context, topic string, total int32) error {
	if err := f.reach("add partitions", topic); err != nil {
		return err
	}
	a, ok := f.inner.(driver.PartitionAdder)
	if !ok {
		return f.failure(driver.CodeUnsupported, "add partitions", topic, "this transport's topics don't grow", nil)
	}
	return a.AddPartitions(ctx, topic, total)
}
