package driver

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// Code says what kind of error an [*Error] is. Programs decide by code; the text
// is for people.
type Code uint8

// The codes. Their order is of no importance; their String is stable.
const (
	// Unknown: the cause could not be classified.
	Unknown Code = iota
	// InvalidArgument: the call is wrong and will be wrong again: an empty topic,
	// a nil message, an unknown URL parameter.
	InvalidArgument
	// NotFound: the topic, partition or group does not exist.
	NotFound
	// AlreadyExists: the topic to be created is already there.
	AlreadyExists
	// Unsupported: this transport can't do it, ever. See [Capabilities].
	Unsupported
	// TooLarge: the message is over the size limit; nothing was sent.
	TooLarge
	// Closed: the bus, subscription or client was closed before, or while, the
	// call ran.
	Closed
	// Unavailable: the broker can't be reached now. The transport goes on trying.
	Unavailable
	// DeadlineExceeded: the time for the operation ran out, and it is known that
	// nothing was sent.
	DeadlineExceeded
	// Canceled: the caller's context was cancelled, and it is known that nothing
	// was sent.
	Canceled
	// OutcomeUnknown: the message was handed to the transport and the wait for its
	// outcome ended first. It may or may not be in the log.
	OutcomeUnknown
	// Unauthenticated: the broker refused the credentials.
	Unauthenticated
	// PermissionDenied: the credentials are good, but do not allow this.
	PermissionDenied
	// Undecodable: a record's bytes could not be made into a message.
	Undecodable
	// Revoked: the partition was taken away; its messages are someone else's now.
	Revoked
	// ResourceExhausted: a bound was reached, and waiting for room ended.
	ResourceExhausted
	// OutOfRange: the position asked for is not in the log.
	OutOfRange
	// Internal: a bug, a handler's panic among them.
	Internal
)

var codeNames = [...]string{
	Unknown: "unknown", InvalidArgument: "invalid_argument", NotFound: "not_found", AlreadyExists: "already_exists",
	Unsupported: "unsupported", TooLarge: "too_large", Closed: "closed", Unavailable: "unavailable",
	DeadlineExceeded: "deadline_exceeded", Canceled: "canceled", OutcomeUnknown: "outcome_unknown",
	Unauthenticated: "unauthenticated", PermissionDenied: "permission_denied", Undecodable: "undecodable",
	Revoked: "revoked", ResourceExhausted: "resource_exhausted", OutOfRange: "out_of_range", Internal: "internal",
}

// String returns the code's name in snake case, "code(n)" for a number that has none.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "code(" + strconv.Itoa(int(c)) + ")"
}

// Error is what every operation of a bus fails with. It is immutable once
// returned. Unwrap gives the cause, so errors.Is with context.DeadlineExceeded or
// a transport's own error works as usual.
type Error struct {
	// Code says what kind of failure it is.
	Code Code
	// Op is the operation that failed: "publish", "subscribe", "commit".
	Op string
	// Transport is the name of the transport, "" when none was involved.
	Transport string
	// Topic is the topic it was about, "" when there is none.
	Topic string
	// Reason says in one line what is wrong and what to do. It may be "" when Err
	// says it.
	Reason string
	// Err is the cause, nil when there is none.
	Err error
}

// Error returns one line: operation, topic, reason, cause, and the code. A cause of
// several lines, as errors.Join makes it, becomes one.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Transport != "" {
		b.WriteString(e.Transport)
		b.WriteString(": ")
	}
	if e.Op != "" {
		b.WriteString(e.Op)
	}
	if e.Topic != "" {
		b.WriteString(" ")
		b.WriteString(strconv.Quote(e.Topic))
	}
	if e.Op != "" || e.Topic != "" {
		b.WriteString(": ")
	}
	switch {
	case e.Reason != "" && e.Err != nil:
		b.WriteString(e.Reason + ": " + oneLine(e.Err))
	case e.Reason != "":
		b.WriteString(e.Reason)
	case e.Err != nil:
		b.WriteString(oneLine(e.Err))
	}
	b.WriteString(" (" + e.Code.String() + ")")
	return b.String()
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in err's chain. A context's error
// without one is DeadlineExceeded or Canceled; anything else is Unknown. CodeOf(nil)
// is Unknown too: test for nil first.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ContextCode(err)
}

// ContextCode returns DeadlineExceeded or Canceled for a context's error, and
// Unknown for any other.
func ContextCode(err error) Code {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Canceled
	default:
		return Unknown
	}
}
