package bus

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
)

// PartitionInfo says which brokers have a partition.
type PartitionInfo = driver.PartitionInfo

// AddPartitions raises a topic's number of partitions to total, and waits until all can
// be used. Records stay where they are, so most keys go to other partitions than before,
// and the order of a key does not span the change. CodeInvalidArgument when the topic has
// as many or more, CodeNotFound when it isn't there, CodeUnsupported where topics can't grow.
func (b *Bus) AddPartitions(ctx context.Context, topic string, total int32) error {
	return b.administer("add partitions", topic, func() error {
		a, ok := b.t.(driver.PartitionAdder)
		if !ok {
			return &Error{Code: CodeUnsupported, Op: "add partitions", Transport: b.caps.Name, Topic: topic, Reason: "this transport's topics don't grow"}
		}
		return a.AddPartitions(ctx, topic, total)
	})
}
