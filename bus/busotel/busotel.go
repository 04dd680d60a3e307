// Package busotel traces published and handled messages with OpenTelemetry.
//
//	b, err := bus.Open(ctx, url, bus.WithHooks(busotel.New()))
//
// # Publishing
//
// Each message is published in a producer span named "send <topic>". Its parent is the span
// in the context of the call, or in the context of the message if the method has no context.
// The span ends with the outcome. The propagator writes the trace context to the headers of
// the published record, by default as W3C traceparent and tracestate. The caller's message is
// not changed.
//
// # Handling
//
// Each call of a handler runs in a consumer span named "process <topic>". If the message has
// a trace context, the consumer span is a child of the producer span and has a link to it.
// With [WithLinkOnly] it starts a new trace, and has only the link. The handler's context
// has the consumer span, so messages that the handler publishes continue the trace.
//
// # What it does not do
//
// Without options it uses the global tracer provider, and records nothing until the program
// sets one. It does not record keys and payloads. It has no metrics: package consumerotel
// measures managed consumers. Attributes follow OpenTelemetry's semantic conventions for
// messaging.
package busotel

import (
	"context"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/hook"
)

const scope = "github.com/trunkline/trunkline/bus/busotel"

// Tracing is a hook for bus.WithHooks. It is safe for concurrent use, also by several buses.
type Tracing struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	linkOnly   bool
}

var (
	_ hook.PublishTracer  = (*Tracing)(nil)
	_ hook.DeliveryTracer = (*Tracing)(nil)
)

// Option configures a Tracing.
type Option func(*options)

type options struct {
	provider   trace.TracerProvider
	propagator propagation.TextMapPropagator
	linkOnly   bool
}

// WithTracerProvider sets the tracer provider. The default is the global one at the time of
// New.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(o *options) { o.provider = p }
}

// WithPropagator sets how the trace context is written to headers. The default is W3C trace
// context.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(o *options) { o.propagator = p }
}

// WithLinkOnly starts a new trace for each call of a handler, with a link to the producer
// span. By default the consumer span is also a child of the producer span.
func WithLinkOnly() Option { return func(o *options) { o.linkOnly = true } }

// New makes a hook for bus.WithHooks.
func New(opts ...Option) *Tracing {
	o := options{provider: otel.GetTracerProvider(), propagator: propagation.TraceContext{}}
	for _, opt := range opts {
		opt(&o)
	}
	return &Tracing{tracer: o.provider.Tracer(scope), propagator: o.propagator, linkOnly: o.linkOnly}
}

// StartPublish implements hook.PublishTracer.
func (t *Tracing) StartPublish(ctx context.Context, transport, topic string, m *message.Message) (map[string]string, func(bus.Outcome)) {
	ctx, span := t.tracer.Start(ctx, "send "+topic, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", transport),
		attribute.String("messaging.destination.name", topic),
		attribute.String("messaging.operation.type", "send"),
		attribute.String("messaging.operation.name", "send"),
		attribute.String("messaging.message.id", m.UUID),
		attribute.Int("messaging.message.body.size", len(m.Payload)),
	))
	headers := propagation.MapCarrier{}
	t.propagator.Inject(ctx, headers)
	return headers, func(o bus.Outcome) {
		if o.Err == nil && o.Partition >= 0 {
			span.SetAttributes(attribute.String("messaging.destination.partition.id", strconv.Itoa(int(o.Partition))))
			if o.Offset >= 0 {
				span.SetAttributes(attribute.Int64("messaging.kafka.offset", o.Offset))
			}
		}
		end(span, o.Err)
	}
}

// StartDelivery implements hook.DeliveryTracer.
func (t *Tracing) StartDelivery(ctx context.Context, d hook.DeliveryStart) (context.Context, func(error)) {
	remote := t.propagator.Extract(ctx, headers{d.Record})
	producer := trace.SpanContextFromContext(remote)
	attrs := []attribute.KeyValue{
		attribute.String("messaging.system", d.Transport),
		attribute.String("messaging.destination.name", d.Record.Topic),
		attribute.String("messaging.destination.partition.id", strconv.Itoa(int(d.Record.Partition))),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.message.id", d.Record.UUID),
		attribute.Int("messaging.message.body.size", len(d.Record.Payload)),
		attribute.Int64("messaging.kafka.offset", d.Record.Offset),
		attribute.Int("trunkline.delivery.attempt", d.Attempt),
	}
	if d.Group != "" {
		attrs = append(attrs, attribute.String("messaging.consumer.group.name", d.Group))
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...)}
	if producer.IsValid() && producer.IsRemote() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: producer}))
	}
	parent := remote
	if t.linkOnly {
		parent = ctx
		opts = append(opts, trace.WithNewRoot())
	}
	ctx, span := t.tracer.Start(parent, "process "+d.Record.Topic, opts...)
	return ctx, func(err error) { end(span, err) }
}

func end(span trace.Span, err error) {
	if err != nil {
		span.SetAttributes(attribute.String("error.type", bus.CodeOf(err).String()))
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// headers are the headers of a record, as the propagator reads them.
type headers struct{ r *bus.Record }

// Get returns the first header of that name.
func (h headers) Get(name string) string {
	v, _ := h.r.Header(name)
	return v
}

// Keys returns the names of the headers.
func (h headers) Keys() []string {
	names := make([]string, len(h.r.Headers))
	for i := range h.r.Headers {
		names[i] = h.r.Headers[i].Key
	}
	return names
}

// Set does nothing, because StartDelivery only reads the headers.
func (headers) Set(string, string) {}
