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

// retryPushback is the trailer by which gRPC's built-in client retries learn how
// long to wait.
const retryPushback = "grpc-retry-pushback-ms"

// Gate turns calls away while a registry is not ready. It is immutable: one gate
// may serve any number of servers, concurrently.
type Gate struct {
	reg    *probe.Registry
	delay  time.Duration
	exempt map[string]struct{} // "pkg.Service" or "pkg.Service/Method"
}

// Option configures a [Gate].
type Option func(*Gate) error

// WithRetryDelay sets how long a client that was turned away is told to wait
// before it tries again. The default is 1 s; 0 gives no hint; less is an error.
func WithRetryDelay(d time.Duration) Option {
	return func(g *Gate) error {
		if d < 0 {
			return fmt.Errorf("grpcprobe: retry delay %v is negative: give 0 for no hint", d)
		}
		g.delay = d
		return nil
	}
}

// WithExempt lets calls in whether ready or not: each name is a service
// ("pkg.Service") or one of its methods ("/pkg.Service/Method", the full method
// name; the first slash may be left out). It adds to what is always exempt:
// grpc.health.v1.Health and the two reflection services. A name of another form
// is an error.
func WithExempt(names ...string) Option {
	return func(g *Gate) error {
		for _, name := range names {
			trimmed := strings.TrimPrefix(name, "/")
			service, method, isMethod := strings.Cut(trimmed, "/")
			if service == "" || isMethod && (method == "" || strings.Contains(method, "/")) {
				return fmt.Errorf("grpcprobe: can't exempt %q: give pkg.Service or /pkg.Service/Method", name)
			}
			g.exempt[trimmed] = struct{}{}
		}
		return nil
	}
}

// NewGate makes a gate for reg. It fails if reg is nil or an option is wrong.
func NewGate(reg *probe.Registry, opts ...Option) (*Gate, error) {
	if reg == nil {
		return nil, errors.New("grpcprobe: NewGate needs a registry, got nil")
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

// UnaryServerInterceptor answers a call that is not exempt, while the registry is
// not ready, with UNAVAILABLE and without calling the handler. The message names
// the services that are not ready; an errdetails.RetryInfo detail, and the
// trailer that gRPC's own client retries go by, carry the retry delay.
func (g *Gate) UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if notReady := g.check(info.FullMethod); notReady != nil {
			if g.delay > 0 {
				// Fails only where there are no trailers; the detail has the same hint.
				_ = grpc.SetTrailer(ctx, g.trailer())
			}
			return nil, g.refusal(notReady)
		}
		return handler(ctx, req)
	}
}

// StreamServerInterceptor does for streams, when they are opened, what
// UnaryServerInterceptor does for calls.
func (g *Gate) StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if notReady := g.check(info.FullMethod); notReady != nil {
			if g.delay > 0 {
				stream.SetTrailer(g.trailer())
			}
			return g.refusal(notReady)
		}
		return handler(srv, stream)
	}
}

// check returns nil if a call of the method may go on.
func (g *Gate) check(fullMethod string) error {
	if g.reg.Ready() || g.isExempt(fullMethod) {
		return nil
	}
	return g.reg.Snapshot().Err() // nil again if it became ready just now
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

func (g *Gate) refusal(notReady error) error {
	message := "not ready"
	if named, ok := errors.AsType[*probe.NotReadyError](notReady); ok {
		message = named.Public()
	}
	refusal := status.New(codes.Unavailable, message)
	if g.delay > 0 {
		hinted, err := refusal.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(g.delay)})
		if err == nil { // a refusal without the hint is still a true one
			refusal = hinted
		}
	}
	return refusal.Err()
}

func (g *Gate) trailer() metadata.MD {
	// Rounded up: 0 would ask for a retry at once.
	ms := (g.delay + time.Millisecond - 1) / time.Millisecond
	return metadata.Pairs(retryPushback, strconv.FormatInt(int64(ms), 10))
}
