package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/codes"
)

// Logging returns an interceptor for clients and servers that logs each call when it has
// ended: topic, method, key, code, duration and error. On a server it also logs caller and
// attempt. It logs neither bodies nor metadata, because they may hold secrets.
//
// The level is Debug for success. It is Info for errors that concern the caller only
// (Canceled, InvalidArgument, NotFound, AlreadyExists, PermissionDenied, Unauthenticated,
// FailedPrecondition, Aborted, OutOfRange), and Warn for all others. A nil logger means
// slog.Default().
func Logging(l *slog.Logger) Interceptor {
	if l == nil {
		l = slog.Default()
	}
	return func(next Func) Func {
		return func(ctx context.Context, req *Request) (*Response, error) {
			begun := time.Now()
			resp, err := next(ctx, req)
			level := levelOf(CodeOf(err))
			if !l.Enabled(ctx, level) {
				return resp, err
			}
			attrs := make([]slog.Attr, 0, 8)
			attrs = append(attrs, slog.String("topic", req.Topic), slog.String("method", req.Method), slog.String("code", CodeOf(err).String()),
				slog.Duration("duration", time.Since(begun)))
			if req.Key != "" {
				attrs = append(attrs, slog.String("key", req.Key))
			}
			if info, ok := FromContext(ctx); ok && info.Topic == req.Topic && info.Method == req.Method {
				attrs = append(attrs, slog.String("caller", info.Caller), slog.Int("attempt", info.Attempt))
			}
			if err != nil {
				attrs = append(attrs, slog.Any("error", err))
			}
			l.LogAttrs(ctx, level, "rpc", attrs...)
			return resp, err
		}
	}
}

func levelOf(c codes.Code) slog.Level {
	switch c {
	case codes.OK:
		return slog.LevelDebug
	case codes.Canceled, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.Aborted, codes.OutOfRange:
		return slog.LevelInfo
	default:
		return slog.LevelWarn
	}
}

// Panic describes a panic that [Recovery] recovered.
type Panic struct {
	Topic, Method string
	// Value is the argument of panic.
	Value any
	// Stack is the stack of the goroutine, in the format of debug.Stack.
	Stack []byte
}

// Recovery returns an interceptor that recovers a panic of the handler or of an inner
// interceptor, and answers with the error that recovered returns. If recovered is nil or
// returns nil, the answer is codes.Internal with a text that does not contain the panic
// value. Do not put the value or the stack into the error, because the server sends it to
// the caller. recovered must be safe for concurrent use.
//
// A server itself recovers panics, outside of all interceptors, and logs the stack (see
// [WithLogger]). Use Recovery to observe panics before they reach outer interceptors, or to
// answer with another error.
func Recovery(recovered func(ctx context.Context, p Panic) error) Interceptor {
	return func(next Func) Func {
		return func(ctx context.Context, req *Request) (resp *Response, err error) {
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				resp, err = nil, nil
				if recovered != nil {
					err = recovered(ctx, Panic{Topic: req.Topic, Method: req.Method, Value: v, Stack: debug.Stack()})
				}
				if err == nil {
					err = &Error{st: errPanicked.st, cause: panicError{v}}
				}
			}()
			return next(ctx, req)
		}
	}
}

var errPanicked = newError(codes.Internal, "the handler panicked", nil)

// panicError is the local cause of the error of a panic. The server does not send it.
type panicError struct{ value any }

func (p panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }
