package bus

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
)

// AddPartitions increases the number of partitions of a topic to total, and waits until all can
// be used. Existing records stay in their partitions. New records of most keys go to another
// partition than before, so the order of a key does not hold across the change. The error has
// CodeInvalidArgument if the topic already has total partitions or more, CodeNotFound if there is
// no such topic, and CodeUnsupported if the topics of the transport cannot grow.
func (b *Bus) AddPartitions(ctx context.Context, topic string, total int32) error {
	return b.administer("add partitions", topic, func() error {
		a, ok := b.t.(driver.PartitionAdder)
		if !ok {
			return &Error{Code: CodeUnsupported, Op: "add partitions", Transport: b.caps.Name, Topic: topic, Reason: "the topics of this transport cannot grow"}
		}
		return a.AddPartitions(ctx, topic, total)
	})
}
