package bus

import (
	"context"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// The headers that a dead letter has besides the original's.
const (
	// DeadLetterTopicHeader, DeadLetterPartitionHeader and DeadLetterOffsetHeader say
	// where the original stands; of a record that came through retry topics, where it
	// was first: see Origin.
	DeadLetterTopicHeader     = "trunkline-dead-letter-topic"
	DeadLetterPartitionHeader = "trunkline-dead-letter-partition"
	DeadLetterOffsetHeader    = "trunkline-dead-letter-offset"
	// DeadLetterGroupHeader is the group that could not handle it, if there was one.
	DeadLetterGroupHeader = "trunkline-dead-letter-group"
	// DeadLetterCauseHeader says why, DeadLetterCodeHeader what kind of error it was.
	DeadLetterCauseHeader = "trunkline-dead-letter-cause"
	DeadLetterCodeHeader  = "trunkline-dead-letter-code"
)

// maxCause bounds the cause's text in a header.
const maxCause = 1024

// deadLetter publishes the record to the dead-letter topic. nil means that it is
// acknowledged there, so the original may be.
func (c *claim) deadLetter(ctx context.Context, e *entry, cause error) error {
	origin := Origin(&e.rec)
	m := message.NewMessage(e.rec.UUID, e.rec.Payload)
	m.Metadata = metadata(&origin)
	m.SetContext(ctx)
	m.Metadata.Set(DeadLetterTopicHeader, origin.Topic)
	m.Metadata.Set(DeadLetterPartitionHeader, strconv.Itoa(int(origin.Partition)))
	m.Metadata.Set(DeadLetterOffsetHeader, strconv.FormatInt(origin.Offset, 10))
	if g := c.sub.cfg.group; g != "" {
		m.Metadata.Set(DeadLetterGroupHeader, g)
	}
	code, text := CodeUnknown, "no cause was given"
	if cause != nil {
		code, text = CodeOf(cause), cause.Error()
	}
	m.Metadata.Set(DeadLetterCodeHeader, code.String())
	m.Metadata.Set(DeadLetterCauseHeader, shorten(text, maxCause))
	if !origin.Timestamp.IsZero() {
		SetTimestamp(m, origin.Timestamp)
	}
	delete(m.Metadata, driver.PartitionDirective)
	err := c.sub.bus.Publish(c.sub.cfg.deadLetter, m)
	c.sub.cfg.hooks.onDeadLetter(DeadLetterEvent{Transport: c.sub.bus.caps.Name, Group: c.sub.cfg.group, Topic: c.sub.cfg.deadLetter,
		Record: &e.rec, Cause: cause, Err: err})
	if err != nil {
		c.sub.bus.cfg.logger.Warn("dead letter not published: the message is tried again", "topic", e.rec.Topic, "partition", e.rec.Partition,
			"offset", e.rec.Offset, "dead-letter topic", c.sub.cfg.deadLetter, "error", err)
		return fmt.Errorf("dead-letter: %w", err)
	}
	return nil
}

// shorten cuts s to at most n bytes, between characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
