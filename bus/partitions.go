package bus

import (
	"context"

	"github.com/trunkline/trunkline/bus/driver"
)

// AddPartitions increases the number of partitions of a topic to total, and waits until all can
// be used. Records stay where they are. Most keys then go to another partition than before, so
// the order of a key does not hold across the change. The error has CodeInvalidArgument if the
// topic has as many partitions or more, CodeNotFound if there is no such topic, and
// CodeUnsupported where topics cannot grow.
func (b *Bus) AddPartitions(ctx context.Context, topic string, total int32) error {
	return b.administer("add partitions", topic, func() error {
		a, ok := b.t.(driver.PartitionAdder)
		if !ok {
			return &Error{Code: CodeUnsupported, Op: "add partitions", Transport: b.caps.Name, Topic: topic, Reason: "the topics of this transport cannot grow"}
		}
		return a.AddPartitions(ctx, topic, total)
	})
}
