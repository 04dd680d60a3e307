package rpc

import (
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/rpc/frame"
)

// CallOption configures one call. [WithCallDefaults] sets options for all calls of a
// client.
type CallOption func(*callSettings)

// callKind is what a call waits for.
type callKind uint8

const (
	forReply   callKind = iota // one reply
	forOutcome                 // the outcome of publishing the request
	forReplies                 // replies of several servers
)

type callSettings struct {
	kind        callKind
	key         string
	partition   int32 // bus.AnyPartition for the transport's choice
	timeout     time.Duration
	metadata    Metadata
	codec       codec.Codec
	retry       *RetryPolicy
	idempotency string
	expect      int
	until       any        // func([]Answer[Resp]) bool, for the Resp of Gather
	gather      *gathering // set by Gather
	progress    *progress  // set by CallAsync
	begun       time.Time
	err         *Error // of an invalid option; the call fails with it
}

func newSettings() callSettings { return callSettings{partition: bus.AnyPartition} }

// Key sets the key of the request. Requests with the same key go to the same partition,
// and a server runs them one at a time in the order in which they were published, where
// the transport keeps order. The default is no key.
func Key(key string) CallOption { return func(s *callSettings) { s.key = key } }

// Partition sends the request to this partition of the topic, regardless of its key. The
// server still runs requests with the same key in order. If the transport has no partitions
// the call fails with codes.InvalidArgument. The default is the transport's choice, by key.
func Partition(n int32) CallOption {
	return func(s *callSettings) {
		if n < 0 {
			s.err = invalidOption(fmt.Sprintf("Partition: must be at least 0, got %d", n))
		}
		s.partition = n
	}
}

// Timeout limits the duration of the call, including all retries. If the deadline of the
// context is earlier, it applies instead. The default is that of [WithDefaultTimeout] if
// the context has no deadline.
func Timeout(d time.Duration) CallOption {
	return func(s *callSettings) {
		if d <= 0 {
			s.err = invalidOption(fmt.Sprintf("Timeout: must be greater than 0, got %v", d))
		}
		s.timeout = d
	}
}

// Header adds an entry to the metadata of the request. The call fails if the name begins
// with "trunkline-", which is reserved.
func Header(name, value string) CallOption {
	return func(s *callSettings) {
		if s.metadata == nil {
			s.metadata = Metadata{}
		}
		s.metadata[name] = value
	}
}

// Codec encodes the request with c instead of the default codec of its type. The server
// encodes its response with the same codec, and must have it (see [WithCodecs]).
func Codec(c codec.Codec) CallOption {
	return func(s *callSettings) {
		if c == nil {
			s.err = invalidOption("Codec: must not be nil")
		}
		s.codec = c
	}
}

// Retry repeats the call when it fails, according to policy p. The default is no retries.
// Where the transport selects partitions by key, the client uses the id of the call as the
// key if the call has none. All attempts then reach the same server, which may have the
// reply to the first attempt.
func Retry(p RetryPolicy) CallOption {
	p = p.withDefaults()
	return func(s *callSettings) { s.retry = &p }
}

// IdempotencyKey sets the idempotency key of the call. Of several calls with the same
// idempotency key, method and topic, from any clients, a server runs only one, and it
// answers all of them with the response. The server does not compare the bodies, so
// different requests need different keys.
//
// This holds within one server process and as long as its replay cache has the response
// (see [WithReplayCache]). Another process, or this one after a restart, runs the call
// again. If the call has no [Key], the idempotency key is also its key, so that calls with
// the same idempotency key reach the same server. An error is not kept: the next call runs
// the handler again. Canceling a call with an idempotency key does not end its handler,
// because other callers may wait for it.
//
// A key has 1 to 128 bytes. The default is none.
func IdempotencyKey(key string) CallOption {
	return func(s *callSettings) {
		if key == "" || len(key) > frame.MaxIdempotencyKey {
			s.err = invalidOption(fmt.Sprintf("IdempotencyKey: must have 1 to %d bytes, got %d", frame.MaxIdempotencyKey, len(key)))
		}
		s.idempotency = key
	}
}

// Expect ends a [Gather] when this many servers have answered. Other calls ignore it.
func Expect(answers int) CallOption {
	return func(s *callSettings) {
		if answers < 1 || answers > maxAnswers {
			s.err = invalidOption(fmt.Sprintf("Expect: must be from 1 to %d, got %d", maxAnswers, answers))
		}
		s.expect = answers
	}
}

// Until ends a [Gather] when enough returns true. Gather calls enough after each answer,
// on the goroutine that called Gather, with all answers so far. enough must not keep them.
// The type parameter of Until must be that of Gather, otherwise Gather fails with
// codes.InvalidArgument. Other calls ignore the option.
func Until[Resp any](enough func(answers []Answer[Resp]) bool) CallOption {
	return func(s *callSettings) {
		if enough == nil {
			s.err = invalidOption("Until: the function must not be nil")
		}
		s.until = enough
	}
}
