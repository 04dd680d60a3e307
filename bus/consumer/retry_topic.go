package consumer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

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
	notes := []bus.Header{
		{Key: deadletter.RetryTopicHeader, Value: origin.Topic},
		{Key: deadletter.RetryPartitionHeader, Value: strconv.Itoa(int(origin.Partition))},
		{Key: deadletter.RetryOffsetHeader, Value: strconv.FormatInt(origin.Offset, 10)},
		{Key: deadletter.RetryGroupHeader, Value: c.group},
		{Key: deadletter.RetryAttemptHeader, Value: strconv.Itoa(Attempts(d))},
		{Key: deadletter.RetryDueHeader, Value: time.Now().Add(c.cfg.retryDelays[stage]).Format(time.RFC3339Nano)},
		{Key: deadletter.RetryCauseHeader, Value: delivery.Shorten(cause.Error(), maxCauseBytes)},
	}
	if !origin.Timestamp.IsZero() {
		notes = append(notes, bus.Header{Key: deadletter.RetryTimestampHeader, Value: origin.Timestamp.Format(time.RFC3339Nano)})
	}
	r := &bus.Record{Topic: c.topicOf(stage + 1), Partition: bus.AnyPartition, Key: origin.Key, UUID: origin.UUID, Payload: origin.Payload,
		Headers: append(delivery.CopyHeaders(origin.Headers, c.bus.Capabilities()), notes...)}
	outcome := make(chan error, 1)
	c.bus.PublishRecord(ctx, r, func(o bus.Outcome) { outcome <- o.Err })
	if err := <-outcome; err != nil { // never blocks forever, because the bus reports every outcome
		return errors.Join(cause, c.newError(bus.CodeOf(err), "publish to the retry topic", "the message is retried in place", err))
	}
	return nil
}

// ofOtherGroup reports whether a record of a retry topic is a copy that another group published.
func (c *Consumer) ofOtherGroup(r *bus.Record) bool {
	group, ok := r.Header(deadletter.RetryGroupHeader)
	return ok && group != c.group
}

// dueTime returns when a copy in a retry topic is due, or the zero time if it is due now.
func dueTime(r *bus.Record) time.Time {
	s, _ := r.Header(deadletter.RetryDueHeader)
	due, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{} // a consumer did not publish this record
	}
	return due
}

// Attempts returns how often handlers have been called for the message, including the current
// call. It adds d.Attempt and the attempts before the message went to a retry topic.
func Attempts(d *bus.Delivery) int {
	s, _ := d.Record.Header(deadletter.RetryAttemptHeader)
	earlier, err := strconv.Atoi(s)
	if err != nil || earlier < 0 {
		earlier = 0
	}
	return earlier + d.Attempt
}
