package bus

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// The headers of a copy that waits in a retry topic. They begin with
// RetryHeaderPrefix, say where the message was first and how it came there, and are
// taken off when it is dead-lettered.
const (
	RetryHeaderPrefix = "trunkline-retry-"
	// RetryTopicHeader, RetryPartitionHeader and RetryOffsetHeader say where the message
	// was first, RetryTimestampHeader (RFC 3339 with nanoseconds) its time there.
	RetryTopicHeader     = RetryHeaderPrefix + "topic"
	RetryPartitionHeader = RetryHeaderPrefix + "partition"
	RetryOffsetHeader    = RetryHeaderPrefix + "offset"
	RetryTimestampHeader = RetryHeaderPrefix + "timestamp"
	// RetryGroupHeader is the group that could not handle it: other groups that read the
	// same retry topic leave it alone.
	RetryGroupHeader = RetryHeaderPrefix + "group"
	// RetryAttemptHeader says how often it was handed to a handler before.
	RetryAttemptHeader = RetryHeaderPrefix + "attempt"
	// RetryDueHeader says when it is to be handled again, RFC 3339 with nanoseconds.
	RetryDueHeader = RetryHeaderPrefix + "due"
	// RetryCauseHeader says why it could not be handled.
	RetryCauseHeader = RetryHeaderPrefix + "cause"
)

// Origin returns where the record was first, and as it was there: topic, partition,
// offset and timestamp are those from before it went through retry topics, and the
// headers of the retry are left out. A record that did not go through any is returned
// as it is.
func Origin(r *Record) Record {
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
	origin.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h Header) bool { return strings.HasPrefix(h.Key, RetryHeaderPrefix) })
	return origin
}
