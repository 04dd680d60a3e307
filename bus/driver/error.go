package driver

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// Code is the kind of an [*Error]. Programs should decide by the code; the text is for people.
type Code uint8

// The codes. The result of String does not change between releases; the number may change.
const (
	// CodeUnknown: the cause could not be classified.
	CodeUnknown Code = iota
	// CodeInvalidArgument: the call is invalid, and repeating it cannot succeed. Examples are an
	// empty topic, a nil message and an unknown URL parameter.
	CodeInvalidArgument
	// CodeNotFound: the topic, partition or group does not exist.
	CodeNotFound
	// CodeAlreadyExists: the topic to create exists.
	CodeAlreadyExists
	// CodeUnsupported: the transport does not support the operation or option. See [Capabilities].
	CodeUnsupported
	// CodeTooLarge: the message exceeds the size limit; nothing was sent.
	CodeTooLarge
	// CodeClosed: the bus, subscription or client was closed before or during the call.
	CodeClosed
	// CodeUnavailable: the broker is not available now. The transport keeps trying.
	CodeUnavailable
	// CodeDeadlineExceeded: the operation timed out, and nothing was sent.
	CodeDeadlineExceeded
	// CodeCanceled: the context of the caller was canceled, and nothing was sent.
	CodeCanceled
	// CodeOutcomeUnknown: the context ended after the message was passed to the transport. The log
	// may or may not have it.
	CodeOutcomeUnknown
	// CodeUnauthenticated: the broker rejected the credentials.
	CodeUnauthenticated
	// CodePermissionDenied: the credentials are valid, but do not permit the operation.
	CodePermissionDenied
	// CodeUndecodable: the bytes of a record are not a message.
	CodeUndecodable
	// CodeRevoked: the partition was revoked. Another member may have it now.
	CodeRevoked
	// CodeResourceExhausted: a bound was reached, and there was no space in time.
	CodeResourceExhausted
	// CodeOutOfRange: the log does not have the requested offset.
	CodeOutOfRange
	// CodeInternal: a bug, such as the panic of a handler.
	CodeInternal
)

var codeNames = [...]string{
	CodeUnknown: "unknown", CodeInvalidArgument: "invalid_argument", CodeNotFound: "not_found", CodeAlreadyExists: "already_exists",
	CodeUnsupported: "unsupported", CodeTooLarge: "too_large", CodeClosed: "closed", CodeUnavailable: "unavailable",
	CodeDeadlineExceeded: "deadline_exceeded", CodeCanceled: "canceled", CodeOutcomeUnknown: "outcome_unknown",
	CodeUnauthenticated: "unauthenticated", CodePermissionDenied: "permission_denied", CodeUndecodable: "undecodable",
	CodeRevoked: "revoked", CodeResourceExhausted: "resource_exhausted", CodeOutOfRange: "out_of_range", CodeInternal: "internal",
}

// String returns the name of the code in snake case, or "code(n)" for an unknown number n.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "code(" + strconv.Itoa(int(c)) + ")"
}

// Error is the error of every operation of a bus. It must not be changed. Unwrap returns the
// cause, so errors.Is works with context.DeadlineExceeded and with the errors of a transport.
type Error struct {
	// Code is the kind of the error.
	Code Code
	// Op is the operation that failed: "publish", "subscribe", "commit".
	Op string
	// Transport is the name of the transport, "" if none was involved.
	Transport string
	// Topic is the topic, "" if there is none.
	Topic string
	// Reason says in one line what is wrong and what to do. It may be "" if Err is not nil.
	Reason string
	// Err is the cause, nil if there is none.
	Err error
}

// Error returns transport, operation, topic, reason, cause and code in one line. It joins the lines
// of a cause that has several, such as one of errors.Join.
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

// CodeOf returns the code of the first *Error in err's chain. Without one, it returns
// CodeDeadlineExceeded or CodeCanceled for the error of a context, and CodeUnknown for everything
// else. CodeOf(nil) is CodeUnknown, too: test for nil first.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ContextCode(err)
}

// ContextCode returns CodeDeadlineExceeded or CodeCanceled for the error of a context, and
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
