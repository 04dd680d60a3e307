package rpc

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
)

// Error is the error of every failed call: a gRPC status, and whether a server sent it. It
// is immutable.
//
// Use [CodeOf], status.Code or the Code method to get the status code. errors.Is and
// errors.As find the local cause, such as context.DeadlineExceeded or a *bus.Error; they do
// not compare codes. A server does not send the cause, so a remote error has none.
type Error struct {
	st          *status.Status
	method      string
	topic       string
	remote      bool
	permanent   bool // every further attempt would fail too, regardless of the code
	undecodable bool // a server could not decode the body of the request
	cause       error
}

// NewError returns a local error with this code and cause, for handlers and interceptors.
// The text of the cause is the status message, which a server sends to the caller. To send
// details, return the error of a status.Status instead. With a nil cause the message is
// empty. NewError replaces codes.OK by codes.Unknown.
func NewError(code codes.Code, cause error) *Error {
	text := ""
	if cause != nil {
		text = cause.Error()
	}
	return &Error{st: status.New(notOK(code), text), cause: cause}
}

// newError returns a local error whose message is not that of its cause. cause may be nil.
func newError(code codes.Code, text string, cause error) *Error {
	return &Error{st: status.New(code, text), cause: cause}
}

// permanentError returns a local error that is not retried.
func permanentError(code codes.Code, text string) *Error {
	return &Error{st: status.New(code, text), permanent: true}
}

func notOK(c codes.Code) codes.Code {
	if c == codes.OK {
		return codes.Unknown
	}
	return c
}

// Error returns one line: method and topic, the code, the message, and "(remote)" if a
// server sent the error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("rpc: ")
	if e.method != "" {
		b.WriteString(e.method)
		if e.topic != "" {
			b.WriteString(" on ")
			b.WriteString(e.topic)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.st.Code().String())
	if m := e.st.Message(); m != "" {
		b.WriteString(": ")
		b.WriteString(m)
	}
	if e.remote {
		b.WriteString(" (remote)")
	}
	return b.String()
}

// Unwrap returns the local cause, or nil.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus returns the status: code, message and details. Package status uses it.
func (e *Error) GRPCStatus() *status.Status { return e.st }

// Code returns the status code. It is never codes.OK.
func (e *Error) Code() codes.Code { return e.st.Code() }

// Message returns the status message, without method, code and origin.
func (e *Error) Message() string { return e.st.Message() }

// Details returns the decoded details of the status. A detail that cannot be decoded is
// replaced by an error.
func (e *Error) Details() []any { return e.st.Details() }

// Remote reports whether a server sent the error. A local error was made by this client:
// whether a server ran the request may be unknown.
func (e *Error) Remote() bool { return e.remote }

// Retryable reports whether the same call may succeed if it is repeated. It returns true
// for Unavailable, ResourceExhausted and Aborted. The exceptions are errors that every
// attempt would repeat: a closed client, or a message that is too large.
func (e *Error) Retryable() bool {
	if e.permanent {
		return false
	}
	switch e.st.Code() {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return true
	default:
		return false
	}
}

// of returns a copy that names the method and topic.
func (e *Error) of(method, topic string) *Error {
	c := *e
	c.method, c.topic = method, topic
	return &c
}

// CodeOf returns the status code of err: codes.OK for nil, the code of the first error in
// the chain that has a status, codes.DeadlineExceeded or codes.Canceled for the error of a
// context, and codes.Unknown for any other error.
func CodeOf(err error) codes.Code { return statusOf(err).Code() }

// statusOf returns the status to send for an error that a handler returned.
func statusOf(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // a fast path: status.FromError below unwraps
		return e.st
	}
	if s, ok := status.FromError(err); ok {
		return s
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, err.Error())
	default:
		return status.New(codes.Unknown, err.Error())
	}
}

// contextError returns the local error of a call whose context has ended. ctx.Err may still
// be nil, if the deadline has passed and its timer has not fired yet.
func contextError(ctx context.Context, what string) *Error {
	err := ctx.Err()
	if err == nil {
		err = context.DeadlineExceeded
	}
	code := codes.Canceled
	if errors.Is(err, context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	if cause := context.Cause(ctx); cause != nil && cause != err { //nolint:errorlint // the same value, not an equal one
		err = errors.Join(err, cause)
	}
	return newError(code, what, err)
}

// publishError returns the local error of a request that was not published.
func publishError(err error) *Error { return busError("the request was not sent: ", err) }

// busError returns a local error with the cause err, an error of package bus. Its message
// is the text of err after prefix.
func busError(prefix string, err error) *Error {
	code, permanent := codes.Unknown, false
	switch bus.CodeOf(err) {
	case bus.CodeNotFound:
		// Not codes.NotFound: a caller would read that as the server's answer that the
		// requested object does not exist.
		code = codes.Unimplemented
	case bus.CodeUnsupported:
		code = codes.Unimplemented
	case bus.CodeTooLarge:
		code, permanent = codes.ResourceExhausted, true
	case bus.CodeResourceExhausted:
		code = codes.ResourceExhausted
	case bus.CodeUnavailable:
		code = codes.Unavailable
	case bus.CodeClosed:
		code, permanent = codes.Unavailable, true
	case bus.CodeInvalidArgument:
		code = codes.InvalidArgument
	case bus.CodeDeadlineExceeded:
		code = codes.DeadlineExceeded
	case bus.CodeCanceled:
		code = codes.Canceled
	case bus.CodeUnauthenticated:
		code = codes.Unauthenticated
	case bus.CodePermissionDenied:
		code = codes.PermissionDenied
	case bus.CodeInternal:
		code = codes.Internal
	}
	return &Error{st: status.New(code, prefix+err.Error()), permanent: permanent, cause: err}
}
