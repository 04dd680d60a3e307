// Package deadletter defines the headers of dead letters and of the copies in retry topics.
//
// A dead letter is a copy of a message that could not be handled: it has the key, payload and
// headers of the original. The headers of this package say where the original is, and why
// it could not be handled. `trunkline dlq` lists, shows and replays dead letters.
//
// Every program that may write to the topic can forge these headers.
package deadletter

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// The headers that a dead letter has in addition to those of the original. They begin with
// HeaderPrefix.
const (
	HeaderPrefix = "trunkline-dead-letter-"
	// TopicHeader, PartitionHeader and OffsetHeader say where the original is. For a message
	// that went through retry topics, this is its first topic; see [Origin].
	TopicHeader     = HeaderPrefix + "topic"
	PartitionHeader = HeaderPrefix + "partition"
	OffsetHeader    = HeaderPrefix + "offset"
	// TimestampHeader is the timestamp of the original, in RFC 3339 with nanoseconds. The
	// timestamp of the dead letter is the time at which it was published.
	TimestampHeader = HeaderPrefix + "timestamp"
	// GroupHeader is the consumer group that could not handle the original; absent without a group.
	GroupHeader = HeaderPrefix + "group"
	// CauseHeader is the text of the error, CodeHeader its code.
	CauseHeader = HeaderPrefix + "cause"
	CodeHeader  = HeaderPrefix + "code"
)

// The headers of a copy in a retry topic. They begin with RetryPrefix. A dead letter does
// not have them.
const (
	RetryPrefix = "trunkline-retry-"
	// RetryTopicHeader, RetryPartitionHeader and RetryOffsetHeader say where the original is.
	// RetryTimestampHeader is the timestamp of the original, in RFC 3339 with nanoseconds.
	RetryTopicHeader     = RetryPrefix + "topic"
	RetryPartitionHeader = RetryPrefix + "partition"
	RetryOffsetHeader    = RetryPrefix + "offset"
	RetryTimestampHeader = RetryPrefix + "timestamp"
	// RetryGroupHeader is the group that could not handle the message. Other groups that read the
	// retry topic skip the copy.
	RetryGroupHeader = RetryPrefix + "group"
	// RetryAttemptHeader is how many times a handler was called with the message before.
	RetryAttemptHeader = RetryPrefix + "attempt"
	// RetryDueHeader is the earliest time for the next attempt, in RFC 3339 with nanoseconds.
	RetryDueHeader = RetryPrefix + "due"
	// RetryCauseHeader is the text of the error.
	RetryCauseHeader = RetryPrefix + "cause"
)

// IsNote reports whether the header is one that a dead letter has in addition to those of
// the original.
func IsNote(name string) bool { return strings.HasPrefix(name, HeaderPrefix) }

// Origin returns the original of a copy in a retry topic: the record with the topic, partition,
// offset and timestamp of the original, and without the retry headers. It returns a record without
// retry headers unchanged. If the header with the partition or offset is missing or invalid, that
// field is -1.
func Origin(r *driver.Record) driver.Record {
	origin := *r
	topic, ok := r.Header(RetryTopicHeader)
	if !ok || topic == "" {
		return origin
	}
	origin.Topic = topic
	origin.Partition, origin.Offset, origin.Timestamp = -1, -1, time.Time{}
	if s, ok := r.Header(RetryPartitionHeader); ok {
		if p, err := strconv.ParseInt(s, 10, 32); err == nil {
			origin.Partition = int32(p)
		}
	}
	if s, ok := r.Header(RetryOffsetHeader); ok {
		if o, err := strconv.ParseInt(s, 10, 64); err == nil {
			origin.Offset = o
		}
	}
	if s, ok := r.Header(RetryTimestampHeader); ok {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			origin.Timestamp = t
		}
	}
	origin.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h driver.Header) bool { return strings.HasPrefix(h.Key, RetryPrefix) })
	return origin
}
