package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/codes"
)

// Logging returns an interceptor, for clients and servers alike, that logs each call
// when it has ended: topic, method, key, code, duration, on a server also caller and
// attempt, and the error. It logs neither bodies nor metadata, which may hold secrets.
// A call that went well is logged at Debug, one that failed for reasons the caller has
// to know at Info, and one that failed for reasons somebody should look at (Unknown,
// Internal, DataLoss, Unavailable, Unimplemented, DeadlineExceeded, ResourceExhausted)
// at Warn. A nil logger is slog.Default().
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

// Panic is a panic that Recovery caught.
type Panic struct {
	Topic, Method string
	// Value is what was panicked with.
	Value any
	// Stack is the goroutine's, as debug.Stack formats it.
	Stack []byte
}

// Recovery returns an interceptor that turns a panic below it into the error that
// recovered returns, and codes.Internal with a text that says nothing of the program
// when that is nil, or recovered is. A server does the latter by itself, outside of all
// interceptors, and logs the stack (see WithLogger); Recovery is for those who want to
// see panics inside of other interceptors, to tell somebody, or to answer otherwise.
// What recovered returns is the answer: don't put the value or the stack into it. It
// may run on many goroutines at once.
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
					err = &Error{st: errPanicked.st, cause: panicked{v}}
				}
			}()
			return next(ctx, req)
		}
	}
}

var errPanicked = newError(codes.Internal, "the handler panicked", nil)

// panicked is the local cause; it does not travel.
type panicked struct{ value any }

func (p panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }
