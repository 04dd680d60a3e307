package rpc

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
)

// Error is what every call fails with: a gRPC status, and where it was made.
// It is immutable. status.FromError, status.Code and errors.As see the status;
// errors.Is and errors.As see the local cause, such as context.DeadlineExceeded
// or a *bus.Error. A cause never travels: a remote error has none.
type Error struct {
	st       *status.Status
	method   string
	topic    string
	remote   bool
	terminal bool // trying again can't help, whatever the code says
	// undecodable: a server could not read the body of a request.
	undecodable bool
	cause       error
}

// NewError returns a local error with this code and cause, for handlers and
// interceptors. The cause's text becomes the status message and travels to the
// caller. To send details along return status.Error's kind instead. A nil cause
// leaves the message empty; codes.OK is replaced by codes.Unknown.
func NewError(code codes.Code, cause error) *Error {
	text := ""
	if cause != nil {
		text = cause.Error()
	}
	return &Error{st: status.New(failing(code), text), cause: cause}
}

// newError is a local error with a text of its own. cause may be nil.
func newError(code codes.Code, text string, cause error) *Error {
	return &Error{st: status.New(code, text), cause: cause}
}

func failing(c codes.Code) codes.Code {
	if c == codes.OK {
		return codes.Unknown
	}
	return c
}

// Error returns one line: the method and topic, the code, the message, and
// whether the other side said so.
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

// Unwrap returns the local cause, nil when there is none.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus returns the status: code, message and details.
func (e *Error) GRPCStatus() *status.Status { return e.st }

// Code returns the status code; never codes.OK.
func (e *Error) Code() codes.Code { return e.st.Code() }

// Message returns the status message, without method, code and origin.
func (e *Error) Message() string { return e.st.Message() }

// Details returns the decoded details; one that can't be decoded is an error in
// its place.
func (e *Error) Details() []any { return e.st.Details() }

// Remote says that the error came over the wire: the server, or its handler,
// answered with it. Otherwise it was made on this side, and whether a server ran
// the request may be unknown.
func (e *Error) Remote() bool { return e.remote }

// Retryable says that the same call may succeed when it is made again:
// Unavailable, ResourceExhausted and Aborted are, unless it is known that another
// attempt meets the same fate (a client that is closed, a message that is too large).
func (e *Error) Retryable() bool {
	if e.terminal {
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

// CodeOf returns the status code of err: codes.OK for nil, that of the first
// error in its chain with a status, that of a context's error, and codes.Unknown
// for any other.
func CodeOf(err error) codes.Code { return statusOf(err).Code() }

// statusOf makes the status that travels for what a handler returned.
func statusOf(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	if e, ok := err.(*Error); ok {
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

// contextError is the local error of a context that has ended, or whose timer is
// about to end it.
func contextError(ctx context.Context, doing string) *Error {
	err := ctx.Err()
	if err == nil {
		err = context.DeadlineExceeded
	}
	code := codes.Canceled
	if errors.Is(err, context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	if cause := context.Cause(ctx); cause != nil && cause != err {
		err = errors.Join(err, cause)
	}
	return newError(code, doing, err)
}

// publishError is the local error of a request that was not sent.
func publishError(err error) *Error {
	e := newError(codes.Unknown, "the request was not sent: "+err.Error(), err)
	code := codes.Unknown
	switch bus.CodeOf(err) {
	case bus.CodeNotFound:
		// Not codes.NotFound: callers take that for the answer that the thing they
		// asked for does not exist.
		code = codes.Unimplemented
	case bus.CodeUnsupported:
		code = codes.Unimplemented
	case bus.CodeTooLarge:
		code, e.terminal = codes.ResourceExhausted, true
	case bus.CodeResourceExhausted:
		code = codes.ResourceExhausted
	case bus.CodeUnavailable:
		code = codes.Unavailable
	case bus.CodeClosed:
		code, e.terminal = codes.Unavailable, true
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
	e.st = status.New(code, e.st.Message())
	return e
}
