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
	// CodeUnknown: the cause could not be classified.
	CodeUnknown Code = iota
	// CodeInvalidArgument: the call is wrong and will be wrong again: an empty topic,
	// a nil message, an unknown URL parameter.
	CodeInvalidArgument
	// CodeNotFound: the topic, partition or group does not exist.
	CodeNotFound
	// CodeAlreadyExists: the topic to be created is already there.
	CodeAlreadyExists
	// CodeUnsupported: this transport can't do it, ever. See [Capabilities].
	CodeUnsupported
	// CodeTooLarge: the message is over the size limit; nothing was sent.
	CodeTooLarge
	// CodeClosed: the bus, subscription or client was closed before, or while, the
	// call ran.
	CodeClosed
	// CodeUnavailable: the broker can't be reached now. The transport goes on trying.
	CodeUnavailable
	// CodeDeadlineExceeded: the time for the operation ran out, and it is known that
	// nothing was sent.
	CodeDeadlineExceeded
	// CodeCanceled: the caller's context was cancelled, and it is known that nothing
	// was sent.
	CodeCanceled
	// CodeOutcomeUnknown: the message was handed to the transport and the wait for its
	// outcome ended first. It may or may not be in the log.
	CodeOutcomeUnknown
	// CodeUnauthenticated: the broker refused the credentials.
	CodeUnauthenticated
	// CodePermissionDenied: the credentials are good, but do not allow this.
	CodePermissionDenied
	// CodeUndecodable: a record's bytes could not be made into a message.
	CodeUndecodable
	// CodeRevoked: the partition was taken away; its messages are someone else's now.
	CodeRevoked
	// CodeResourceExhausted: a bound was reached, and waiting for room ended.
	CodeResourceExhausted
	// CodeOutOfRange: the position asked for is not in the log.
	CodeOutOfRange
	// CodeInternal: a bug, a handler's panic among them.
	CodeInternal
)

var codeNames = [...]string{
	CodeUnknown: "unknown", CodeInvalidArgument: "invalid_argument", CodeNotFound: "not_found", CodeAlreadyExists: "already_exists",
	CodeUnsupported: "unsupported", CodeTooLarge: "too_large", CodeClosed: "closed", CodeUnavailable: "unavailable",
	CodeDeadlineExceeded: "deadline_exceeded", CodeCanceled: "canceled", CodeOutcomeUnknown: "outcome_unknown",
	CodeUnauthenticated: "unauthenticated", CodePermissionDenied: "permission_denied", CodeUndecodable: "undecodable",
	CodeRevoked: "revoked", CodeResourceExhausted: "resource_exhausted", CodeOutOfRange: "out_of_range", CodeInternal: "internal",
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
// without one is CodeDeadlineExceeded or CodeCanceled; anything else is CodeUnknown. CodeOf(nil)
// is CodeUnknown too: test for nil first.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ContextCode(err)
}

// ContextCode returns CodeDeadlineExceeded or CodeCanceled for a context's error, and
// CodeUnknown for any other.
func ContextCode(err error) Code {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return CodeDeadlineExceeded
	case errors.Is(err, context.Canceled):
		return CodeCanceled
	default:
		return CodeUnknown
	}
}

// Temporary reports whether an operation that failed with err can succeed when it is
// repeated later. It returns false for nil.
func Temporary(err error) bool {
	if err == nil {
		return false
	}
	switch CodeOf(err) {
	case CodeUnavailable, CodeDeadlineExceeded, CodeOutcomeUnknown, CodeResourceExhausted:
		return true
	default:
		return false
	}
}
