package rpc

import (
	"strconv"
	"time"

	"github.com/trunkline/trunkline/bus/codec"
)

// CallOption configures one call.
type CallOption func(*callSettings)

// callKind is what a call waits for.
type callKind uint8

const (
	forReply   callKind = iota // one reply
	forOutcome                 // the request's being in the log
	forReplies                 // the replies of many
)

type callSettings struct {
	kind        callKind
	key         string
	partition   int32 // -1 for the transport's choice
	timeout     time.Duration
	metadata    Metadata
	codec       codec.Codec
	retry       *RetryPolicy
	idempotency string
	expect      int
	until       any        // func([]Answer[Resp]) bool of Gather's Resp
	gather      *gathering // of a call for replies
	progress    *progress  // of an asynchronous call
	begun       time.Time
	err         *Error // of an option that makes no sense; the call fails with it
}

func newSettings() callSettings { return callSettings{partition: AnyPartition} }

// Key orders the call among others with the same key: they land on one partition,
// and a server runs them one at a time in the order they were made. "" is no key.
func Key(key string) CallOption { return func(s *callSettings) { s.key = key } }

// Partition sends the call to this partition of the topic, whatever its key, which
// still orders it. Where topics have no partitions the call fails with
// codes.InvalidArgument. Default: the transport's choice, by key.
func Partition(n int32) CallOption {
	return func(s *callSettings) {
		if n < 0 {
			s.err = invalidOption("the partition is negative")
		}
		s.partition = n
	}
}

// Timeout bounds the call, retries included; the context's deadline holds too.
// Default: the client's DefaultTimeout when the context has no deadline.
func Timeout(d time.Duration) CallOption {
	return func(s *callSettings) {
		if d <= 0 {
			s.err = invalidOption("the timeout is not over zero")
		}
		s.timeout = d
	}
}

// Header adds an entry to the metadata that travels with the request. Names that
// begin with "trunkline-" are reserved and fail the call.
func Header(name, value string) CallOption {
	return func(s *callSettings) {
		if s.metadata == nil {
			s.metadata = Metadata{}
		}
		s.metadata[name] = value
	}
}

// WithCodec encodes the request with c instead of its type's default, and the server
// answers alike.
func WithCodec(c codec.Codec) CallOption {
	return func(s *callSettings) {
		if c == nil {
			s.err = invalidOption("the codec is nil")
		}
		s.codec = c
	}
}

// Retry has the call made again when it fails as the policy says. Default: never.
// A call without key is given its own id as one, where the transport picks partitions
// by key, so that all attempts reach the server that has the first one's answer.
func Retry(p RetryPolicy) CallOption {
	p = p.withDefaults()
	return func(s *callSettings) { s.retry = &p }
}

// IdempotencyKey makes calls one: those with the same key, method and topic, from
// this client or any other, are run once, and all get the first answer. The key
// stands for the whole request: give another request another key.
//
// The scope is one server process and what its replay cache still holds (see
// ReplayCache): another process, or this one after it was started anew, runs the call
// again. So that equal calls meet at the same server the key is the call's Key as
// well, unless that is set. An error is not kept: the next call is run. Cancelling a
// call with an idempotency key does not end its handler, which others may wait for.
// 1 to 128 bytes. Default: none.
func IdempotencyKey(key string) CallOption {
	return func(s *callSettings) {
		if key == "" || len(key) > maxIdempotency {
			s.err = invalidOption("the idempotency key is empty or over " + strconv.Itoa(maxIdempotency) + " bytes")
		}
		s.idempotency = key
	}
}

// Expect ends a Gather when so many servers have answered. Other calls ignore it.
func Expect(answers int) CallOption {
	return func(s *callSettings) {
		if answers < 1 || answers > maxAnswers {
			s.err = invalidOption("the number of expected answers is not from 1 to " + strconv.Itoa(maxAnswers))
		}
		s.expect = answers
	}
}

// Until ends a Gather when enough returns true. enough is asked after each answer, on
// the gathering goroutine, with all answers so far, which it must not keep. Its Resp
// must be Gather's; otherwise Gather fails with codes.InvalidArgument. Other calls
// ignore it.
func Until[Resp any](enough func(answers []Answer[Resp]) bool) CallOption {
	return func(s *callSettings) {
		if enough == nil {
			s.err = invalidOption("the function that says when the answers are enough is nil")
		}
		s.until = enough
	}
}
