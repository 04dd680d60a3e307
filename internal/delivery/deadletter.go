package delivery

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

// maxCause bounds the text of the cause in a header, in bytes.
const maxCause = 1024

// deadLetter publishes a copy of the record to the dead-letter topic. It returns nil if the
// transport's log has the copy. The caller may then acknowledge the original.
func (c *claim) deadLetter(ctx context.Context, it *Item, cause error) error {
	cfg := &c.engine.cfg
	err := cfg.Publish(ctx, c.deadLetterOf(&it.record, cause))
	cfg.Observers.onDeadLetter(hook.DeadLetterEvent{Transport: cfg.Caps.Name, Group: cfg.Group, Topic: cfg.DeadLetterTopic,
		Record: &it.record, Cause: cause, Err: err})
	if err != nil {
		c.engine.log.warn("dead letter not published: messages that are ordered after the original wait until it is published",
			&it.record, "dead_letter_topic", cfg.DeadLetterTopic, "error", err)
		return fmt.Errorf("dead-letter: %w", err)
	}
	c.engine.log.warn("message dead-lettered", &it.record, "dead_letter_topic", cfg.DeadLetterTopic, "error", cause)
	return nil
}

// deadLetterOf returns the dead letter for a record. It is a copy of the original, with headers for its
// origin and for the cause. Its timestamp is the time of publishing, because with an old timestamp
// the retention of the topic could delete it at once.
func (c *claim) deadLetterOf(r *driver.Record, cause error) *driver.Record {
	cfg := &c.engine.cfg
	origin := deadletter.Origin(r)
	notes := []driver.Header{
		{Key: deadletter.TopicHeader, Value: origin.Topic},
		{Key: deadletter.PartitionHeader, Value: strconv.Itoa(int(origin.Partition))},
		{Key: deadletter.OffsetHeader, Value: strconv.FormatInt(origin.Offset, 10)},
		{Key: deadletter.CodeHeader, Value: driver.CodeOf(cause).String()},
		{Key: deadletter.CauseHeader, Value: Shorten(cause.Error(), maxCause)},
	}
	if !origin.Timestamp.IsZero() {
		notes = append(notes, driver.Header{Key: deadletter.TimestampHeader, Value: origin.Timestamp.Format(time.RFC3339Nano)})
	}
	if cfg.Group != "" {
		notes = append(notes, driver.Header{Key: deadletter.GroupHeader, Value: cfg.Group})
	}
	return &driver.Record{Topic: cfg.DeadLetterTopic, Partition: driver.AnyPartition, Key: origin.Key,
		UUID: origin.UUID, Headers: append(CopyHeaders(origin.Headers, cfg.Caps), notes...), Payload: origin.Payload}
}

// CopyHeaders returns the headers for a copy of a record, in their order. It omits the headers of
// an earlier dead letter, and the reserved names, which must not control how the copy is published.
func CopyHeaders(headers []driver.Header, caps driver.Capabilities) []driver.Header {
	headers = slices.DeleteFunc(slices.Clone(headers), func(h driver.Header) bool {
		return driver.IsDirective(h.Key) || deadletter.IsNote(h.Key)
	})
	if !caps.HeaderOrder {
		headers = firstOfEach(headers)
	}
	return headers
}

// firstOfEach keeps the first header of each name, for transports that carry each name only once.
func firstOfEach(headers []driver.Header) []driver.Header {
	seen := make(map[string]bool, len(headers))
	return slices.DeleteFunc(headers, func(h driver.Header) bool {
		again := seen[h.Key]
		seen[h.Key] = true
		return again
	})
}

// Shorten returns s as valid UTF-8 of at most n bytes, cut between characters.
func Shorten(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
