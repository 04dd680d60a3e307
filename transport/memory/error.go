package memory

import (
	"context"
	"fmt"

	"github.com/trunkline/trunkline/bus/driver"
)

func newError(code driver.Code, op, topic, reason string, cause error) *driver.Error {
	return &driver.Error{Code: code, Op: op, Transport: name, Topic: topic, Reason: reason, Err: cause}
}

func invalidArgument(op, topic, reason string) *driver.Error {
	return newError(driver.CodeInvalidArgument, op, topic, reason, nil)
}

func closedError(op, topic string) *driver.Error {
	return newError(driver.CodeClosed, op, topic, "the transport is closed", nil)
}

func contextError(op, topic string, err error) error {
	return newError(driver.ContextCode(err), op, topic, "", err)
}

func topicNotFound(op, topic string) *driver.Error {
	return newError(driver.CodeNotFound, op, topic, "the topic does not exist: create it first", nil)
}

func partitionNotFound(op, topic string, id int32, have int) *driver.Error {
	return newError(driver.CodeNotFound, op, topic,
		fmt.Sprintf("partition %d does not exist: the topic has partitions 0 to %d", id, have-1), nil)
}

// offsetOutOfRange reports the range of p. The caller holds p.mu.
func offsetOutOfRange(op string, p *partition, offset int64) error {
	return newError(driver.CodeOutOfRange, op, p.topic,
		fmt.Sprintf("offset %d is out of range: partition %d has offsets %d to %d", offset, p.id, p.base, p.end), nil)
}

// partitionFull reports that ctx ended while a message waited for space in p.
func partitionFull(p *partition, ctx context.Context) error {
	return newError(driver.ContextCode(ctx.Err()), "publish", p.topic,
		fmt.Sprintf("partition %d is full, because a connected subscriber is behind; the message was not sent", p.id), ctx.Err())
}
