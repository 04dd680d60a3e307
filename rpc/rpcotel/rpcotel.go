// Package rpcotel traces and measures calls of package rpc with OpenTelemetry.
//
//	c, err := rpc.NewClient(b, rpc.WithInterceptors(rpcotel.Client()))
//	s, err := rpc.NewServer(b, rpc.WithInterceptors(rpcotel.Server()))
//
// # Spans
//
// The client makes a client span "<topic>/<method>" for each call, around all attempts. It
// is a child of the span in the context of the caller. The trace context travels in the
// metadata of the request, in the format of the propagator: by default W3C trace context,
// traceparent and tracestate.
//
// The server makes a server span for each run of a handler. Its parent is the span of the
// client, or the consumer span of package busotel if that traces deliveries too. The context
// of the handler has the server span, so calls that the handler makes belong to the same
// trace.
//
// # Metrics
//
// The histograms rpc.client.call.duration and rpc.server.call.duration measure durations in
// seconds.
//
// # Attributes
//
// rpc.system.name is "trunkline", rpc.service is the topic, rpc.method the method, and
// rpc.response.status_code the name of the gRPC code. Server spans also have
// trunkline.rpc.caller and trunkline.rpc.attempt. A client span has the status Error if the
// call failed, and a server span if the code is one that the semantic conventions for gRPC
// attribute to the server. The package does not record keys, bodies, other metadata, or the
// texts of errors.
//
// # What it does not do
//
// It does not bound the number of different topics and methods, which are label values of
// the metrics: do not derive them from user input.
package rpcotel

import (
	"context"
	"maps"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/rpc"
)

const scope = "github.com/trunkline/trunkline/rpc/rpcotel"

// Option configures [Client] and [Server].
type Option func(*options)

type options struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator
}

// WithTracerProvider sets the provider of tracers. The default is the global provider.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.tracers = p } }

// WithMeterProvider sets the provider of meters. The default is the global provider.
func WithMeterProvider(p metric.MeterProvider) Option { return func(o *options) { o.meters = p } }

// WithPropagator sets the format of the trace context in the metadata. The default is W3C
// trace context.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(o *options) { o.propagator = p }
}

// side is what the interceptors of clients and servers have in common.
type side struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	duration   metric.Float64Histogram
}

func newSide(opts []Option, name, description string) *side {
	o := options{tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider(), propagator: propagation.TraceContext{}}
	for _, opt := range opts {
		opt(&o)
	}
	duration, err := o.meters.Meter(scope).Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	if err != nil {
		otel.Handle(err) // nothing is measured then
	}
	return &side{o.tracers.Tracer(scope), o.propagator, duration}
}

// Client returns the interceptor for clients.
func Client(opts ...Option) rpc.Interceptor {
	c := newSide(opts, "rpc.client.call.duration", "Duration of a call, all attempts included.")
	return func(next rpc.Func) rpc.Func {
		return func(ctx context.Context, req *rpc.Request) (*rpc.Response, error) {
			attrs := attributes(req)
			ctx, span := c.tracer.Start(ctx, req.Topic+"/"+req.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
			metadata := make(rpc.Metadata, len(req.Metadata)+2)
			maps.Copy(metadata, req.Metadata)
			c.propagator.Inject(ctx, propagation.MapCarrier(metadata))
			req.Metadata = metadata
			begun, ended := time.Now(), false
			defer func() {
				if !ended { // next has panicked
					c.end(ctx, span, attrs, begun, codes.Unknown, true)
				}
			}()
			resp, err := next(ctx, req)
			ended = true
			if resp != nil && resp.Attempts > 1 {
				span.SetAttributes(attribute.Int("trunkline.rpc.attempts", resp.Attempts))
			}
			code := rpc.CodeOf(err)
			c.end(ctx, span, attrs, begun, code, code != codes.OK)
			return resp, err
		}
	}
}

// Server returns the interceptor for servers.
func Server(opts ...Option) rpc.Interceptor {
	s := newSide(opts, "rpc.server.call.duration", "Duration of a handler.")
	return func(next rpc.Func) rpc.Func {
		return func(ctx context.Context, req *rpc.Request) (*rpc.Response, error) {
			attrs := attributes(req)
			if !trace.SpanContextFromContext(ctx).IsValid() {
				ctx = s.propagator.Extract(ctx, propagation.MapCarrier(req.Metadata))
			}
			spanAttrs := attrs
			if info, ok := rpc.FromContext(ctx); ok {
				spanAttrs = append(attrs[:len(attrs):len(attrs)], attribute.String("trunkline.rpc.caller", info.Caller), attribute.Int("trunkline.rpc.attempt", info.Attempt))
			}
			ctx, span := s.tracer.Start(ctx, req.Topic+"/"+req.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(spanAttrs...))
			begun, ended := time.Now(), false
			defer func() {
				if !ended {
					s.end(ctx, span, attrs, begun, codes.Internal, true)
				}
			}()
			resp, err := next(ctx, req)
			ended = true
			code := rpc.CodeOf(err)
			s.end(ctx, span, attrs, begun, code, serverFault(code))
			return resp, err
		}
	}
}

func attributes(req *rpc.Request) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("rpc.system.name", "trunkline"),
		attribute.String("rpc.service", req.Topic),
		attribute.String("rpc.method", req.Method),
	}
}

func (s *side) end(ctx context.Context, span trace.Span, attrs []attribute.KeyValue, begun time.Time, code codes.Code, failed bool) {
	status := attribute.String("rpc.response.status_code", code.String())
	span.SetAttributes(status)
	if failed {
		span.SetStatus(otelcodes.Error, code.String())
	}
	span.End()
	if s.duration != nil {
		s.duration.Record(ctx, time.Since(begun).Seconds(), metric.WithAttributes(append(attrs[:len(attrs):len(attrs)], status)...))
	}
}

// serverFault reports whether the semantic conventions for gRPC attribute a code to the
// server.
func serverFault(c codes.Code) bool {
	switch c {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	default:
		return false
	}
}
