package grpcprobe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trunkline/trunkline/liveness/probe"
)

const defaultRetryDelay = time.Second

// retryPushback is the trailer from which gRPC clients read the delay before a retry.
const retryPushback = "grpc-retry-pushback-ms"

// Gate rejects calls while a registry is not ready. It is immutable, and safe for use by
// any number of servers.
type Gate struct {
	reg    *probe.Registry
	delay  time.Duration
	exempt map[string]struct{} // "pkg.Service" or "pkg.Service/Method"
}

// Option configures a [Gate].
type Option func(*Gate) error

// WithRetryDelay sets how long a rejected client should wait before it retries. With 0 the
// gate gives no hint. The delay must not be negative. The default is 1 s.
func WithRetryDelay(d time.Duration) Option {
	return func(g *Gate) error {
		if d < 0 {
			return fmt.Errorf("grpcprobe: retry delay must not be negative, got %v: use 0 for no hint", d)
		}
		g.delay = d
		return nil
	}
}

// WithExempt exempts calls, which then pass even if the registry is not ready. Each name is
// a service ("pkg.Service") or a method ("/pkg.Service/Method"; the first slash is
// optional). A name of another form is an error. The gate always exempts
// grpc.health.v1.Health and the two reflection services, too.
func WithExempt(names ...string) Option {
	return func(g *Gate) error {
		for _, name := range names {
			trimmed := strings.TrimPrefix(name, "/")
			service, method, isMethod := strings.Cut(trimmed, "/")
			if service == "" || isMethod && (method == "" || strings.Contains(method, "/")) {
				return fmt.Errorf("grpcprobe: cannot exempt %q: use pkg.Service or /pkg.Service/Method", name)
			}
			g.exempt[trimmed] = struct{}{}
		}
		return nil
	}
}

// NewGate returns a gate for reg. It returns an error if reg is nil or an option is
// invalid.
func NewGate(reg *probe.Registry, opts ...Option) (*Gate, error) {
	if reg == nil {
		return nil, errors.New("grpcprobe: new gate: the registry is nil")
	}
	g := &Gate{reg: reg, delay: defaultRetryDelay, exempt: map[string]struct{}{
		"grpc.health.v1.Health":                    {},
		"grpc.reflection.v1.ServerReflection":      {},
		"grpc.reflection.v1alpha.ServerReflection": {},
	}}
	for _, opt := range opts {
		if err := opt(g); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// UnaryServerInterceptor returns an interceptor that rejects calls with UNAVAILABLE while
// the registry is not ready, unless they are exempt. The handler does not run for a rejected
// call. The message of the error names the services that are not ready. The retry delay is
// in an errdetails.RetryInfo detail, and in the trailer grpc-retry-pushback-ms, which gRPC
// clients use for their retries.
func (g *Gate) UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if notReady := g.check(info.FullMethod); notReady != nil {
			if g.delay > 0 {
				// An error means that there are no trailers; the detail has the same hint.
				_ = grpc.SetTrailer(ctx, g.trailer())
			}
			return nil, g.rejection(notReady)
		}
		return handler(ctx, req)
	}
}

// StreamServerInterceptor returns an interceptor that checks streams when they are opened,
// as UnaryServerInterceptor checks calls.
func (g *Gate) StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if notReady := g.check(info.FullMethod); notReady != nil {
			if g.delay > 0 {
				stream.SetTrailer(g.trailer())
			}
			return g.rejection(notReady)
		}
		return handler(srv, stream)
	}
}

// check returns nil if a call of the method passes.
func (g *Gate) check(fullMethod string) error {
	if g.reg.Ready() || g.isExempt(fullMethod) {
		return nil
	}
	return g.reg.Snapshot().Err() // nil if it has just become ready
}

func (g *Gate) isExempt(fullMethod string) bool {
	name := strings.TrimPrefix(fullMethod, "/")
	if _, yes := g.exempt[name]; yes {
		return true
	}
	service, _, _ := strings.Cut(name, "/")
	_, yes := g.exempt[service]
	return yes
}

func (g *Gate) rejection(notReady error) error {
	message := "not ready"
	if named, ok := errors.AsType[*probe.NotReadyError](notReady); ok {
		message = named.Public()
	}
	rejection := status.New(codes.Unavailable, message)
	if g.delay > 0 {
		hinted, err := rejection.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(g.delay)})
		if err == nil { // otherwise reject the call without the hint
			rejection = hinted
		}
	}
	return rejection.Err()
}

func (g *Gate) trailer() metadata.MD {
	// Rounded up: 0 would ask for a retry at once.
	ms := (g.delay + time.Millisecond - 1) / time.Millisecond
	return metadata.Pairs(retryPushback, strconv.FormatInt(int64(ms), 10))
}
