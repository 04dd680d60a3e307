package consumer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/internal/delivery"
)

// RetryTopic returns the name of the n-th retry topic of a topic. The first is 1.
func RetryTopic(topic string, n int) string { return fmt.Sprintf("%s.retry.%d", topic, n) }

// stages returns the number of subscriptions: one for the topic and one for each retry topic.
func (c *Consumer) stages() int { return 1 + len(c.cfg.retryDelays) }

// topicOf returns the topic of a stage.
func (c *Consumer) topicOf(stage int) string {
	if stage == 0 {
		return c.topic
	}
	return RetryTopic(c.topic, stage)
}

// maxCauseBytes bounds the text of the cause in the header.
const maxCauseBytes = 1024

// postpone publishes a copy of the message to the next retry topic. If it returns nil, the
// retry topic has the copy and the message may be acknowledged.
func (c *Consumer) postpone(ctx context.Context, d *bus.Delivery, stage int, cause error) error {
	origin := deadletter.Origin(d.Record)
	m := message.NewMessage(d.Record.UUID, d.Record.Payload)
	for _, h := range origin.Headers {
		m.Metadata.Set(h.Key, h.Value)
	}
	bus.SetKey(m, string(origin.Key))
	m.Metadata.Set(deadletter.RetryTopicHeader, origin.Topic)
	m.Metadata.Set(deadletter.RetryPartitionHeader, strconv.Itoa(int(origin.Partition)))
	m.Metadata.Set(deadletter.RetryOffsetHeader, strconv.FormatInt(origin.Offset, 10))
	if !origin.Timestamp.IsZero() {
		m.Metadata.Set(deadletter.RetryTimestampHeader, origin.Timestamp.Format(time.RFC3339Nano))
	}
	m.Metadata.Set(deadletter.RetryGroupHeader, c.group)
	m.Metadata.Set(deadletter.RetryAttemptHeader, strconv.Itoa(Attempts(d)))
	m.Metadata.Set(deadletter.RetryDueHeader, time.Now().Add(c.cfg.retryDelays[stage]).Format(time.RFC3339Nano))
	m.Metadata.Set(deadletter.RetryCauseHeader, delivery.Shorten(cause.Error(), maxCauseBytes))
	m.SetContext(ctx)
	if err := c.bus.Publish(c.topicOf(stage+1), m); err != nil {
		return errors.Join(cause, c.newError(bus.CodeOf(err), "publish to the retry topic", "the message is retried in place", err))
	}
	return nil
}

// ofOtherGroup reports whether a record of a retry topic is a copy by another group.
func (c *Consumer) ofOtherGroup(r *bus.Record) bool {
	group, ok := r.Header(deadletter.RetryGroupHeader)
	return ok && group != c.group
}

// dueTime returns when a copy in a retry topic is due. The zero time is now.
func dueTime(r *bus.Record) time.Time {
	s, _ := r.Header(deadletter.RetryDueHeader)
	due, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{} // not a copy by a consumer
	}
	return due
}

// Attempts returns how often handlers have been called for the message, the present call
// included: d.Attempt, and the attempts before the message went to a retry topic.
func Attempts(d *bus.Delivery) int {
	s, _ := d.Record.Header(deadletter.RetryAttemptHeader)
	earlier, err := strconv.Atoi(s)
	if err != nil || earlier < 0 {
		earlier = 0
	}
	return earlier + d.Attempt
}
