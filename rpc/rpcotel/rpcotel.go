// Package rpcotel traces and measures calls with OpenTelemetry.
//
//	c, err := rpc.NewClient(b, rpc.WithInterceptors(rpcotel.Client()))
//	s, err := rpc.NewServer(b, rpc.WithInterceptors(rpcotel.Server()))
//
// A call is a client span "<topic>/<method>", a child of the span in the caller's
// context, around all of its attempts. Its trace context travels in the request's
// metadata, in the form of the propagator (W3C's traceparent and tracestate by default).
// The handler runs under a server span that is a child of it, or of the bus's consumer
// span where package busotel traces deliveries too. The handler's context carries the
// server span, so the calls it makes go on with the trace.
//
// Both sides measure durations, in seconds, as the histograms rpc.client.call.duration
// and rpc.server.call.duration.
//
// Attributes: rpc.system.name "trunkline", rpc.service (the topic), rpc.method,
// rpc.response.status_code (the gRPC code's name); on server spans also
// trunkline.rpc.caller and trunkline.rpc.attempt. A span fails with what the caller of a
// client has to know, and on a server with what is the server's fault. Keys, bodies,
// other metadata, and the texts of errors from the other side are not recorded. The
// topic and the method of a call are label values: don't make them out of user input.
//
// The zero options use the global providers: nothing is recorded before the program
// sets one.
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

// Option configures the interceptors.
type Option func(*options)

type options struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator
}

// WithTracerProvider sets where spans go. Default: the global provider.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.tracers = p } }

// WithMeterProvider sets where measurements go. Default: the global provider.
func WithMeterProvider(p metric.MeterProvider) Option { return func(o *options) { o.meters = p } }

// WithPropagator sets the form of the trace context in metadata. Default: W3C trace
// context.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(o *options) { o.propagator = p }
}

// side is one side's interceptor.
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
		otel.Handle(err) // duration is a no-op then
	}
	return &side{o.tracers.Tracer(scope), o.propagator, duration}
}

// Client returns the interceptor of a client.
func Client(opts ...Option) rpc.Interceptor {
	c := newSide(opts, "rpc.client.call.duration", "Time from the beginning of a call to its end, all attempts included.")
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
				if !ended { // a panic goes on from here
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

// Server returns the interceptor of a server.
func Server(opts ...Option) rpc.Interceptor {
	s := newSide(opts, "rpc.server.call.duration", "Time a handler ran.")
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

// serverFault says whether an error is the server's, as the conventions for gRPC have it.
func serverFault(c codes.Code) bool {
	switch c {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	default:
		return false
	}
}
