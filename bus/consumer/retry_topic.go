package consumer

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
)

// maxCause bounds the cause's text in a header.
const maxCause = 1024

// postpone publishes a copy of the message to the next retry topic. nil means that it is
// there, so that the original may be acknowledged.
func (c *Consumer) postpone(ctx context.Context, d *bus.Delivery, hop int, cause error) error {
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
	m.Metadata.Set(deadletter.RetryDueHeader, time.Now().Add(c.cfg.delays[hop]).Format(time.RFC3339Nano))
	m.Metadata.Set(deadletter.RetryCauseHeader, shorten(cause.Error(), maxCause))
	m.SetContext(ctx)
	if err := c.bus.Publish(c.topicOf(hop+1), m); err != nil {
		return errors.Join(cause, c.fail(bus.CodeOf(err), "put off to a retry topic", "the message is tried again in its place", err))
	}
	return nil
}

// foreign says whether a record of a retry topic is another group's.
func (c *Consumer) foreign(r *bus.Record) bool {
	group, ok := r.Header(deadletter.RetryGroupHeader)
	return ok && group != c.group
}

// dueOf is when a copy in a retry topic is to be handled; zero for at once.
func dueOf(r *bus.Record) time.Time {
	s, _ := r.Header(deadletter.RetryDueHeader)
	due, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{} // none of ours
	}
	return due
}

// Attempts returns how often the message was handed to a handler, this time included:
// d.Attempt, and the attempts before it came to a retry topic.
func Attempts(d *bus.Delivery) int {
	s, _ := d.Header(deadletter.RetryAttemptHeader)
	before, err := strconv.Atoi(s)
	if err != nil || before < 0 {
		before = 0
	}
	return before + d.Attempt
}

// shorten cuts s to at most n bytes of whole, valid characters.
func shorten(s string, n int) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
