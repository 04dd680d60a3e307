// Package busotel traces what a bus publishes and handles with OpenTelemetry.
//
//	b, err := bus.Open(ctx, url, bus.WithHooks(busotel.New()))
//
// A message is published under a producer span, "send <topic>", which is a child of
// the span in the message's context and ends with the outcome. Its trace context
// travels in the message's headers, in the form of the propagator (W3C's traceparent
// and tracestate by default). A handler runs under a consumer span, "process <topic>",
// which is a child of that producer span, if the message carries one, and is linked to
// it; with [LinkOnly] it starts a trace of its own and is only linked. The handler's
// context carries the consumer span, so what it publishes continues the trace.
//
// The zero options use the global tracer provider, and nothing is recorded before the
// program sets one. Attributes follow the semantic conventions for messaging. Message
// keys and payloads are not recorded.
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
)

const scope = "github.com/trunkline/trunkline/bus/busotel"

// Tracing is a bus hook. It is safe for concurrent use, by several buses too.
type Tracing struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	linkOnly   bool
}

var (
	_ bus.PublishTracer  = (*Tracing)(nil)
	_ bus.DeliveryTracer = (*Tracing)(nil)
)

// Option configures a Tracing.
type Option func(*options)

type options struct {
	provider   trace.TracerProvider
	propagator propagation.TextMapPropagator
	linkOnly   bool
}

// WithTracerProvider sets where spans go. Default: the global provider.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(o *options) { o.provider = p }
}

// WithPropagator sets the form of the trace context in headers. Default: W3C trace
// context.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(o *options) { o.propagator = p }
}

// LinkOnly gives each handled message a trace of its own, linked to the producer's.
func LinkOnly() Option { return func(o *options) { o.linkOnly = true } }

// New returns a hook for bus.WithHooks.
func New(opts ...Option) *Tracing {
	o := options{provider: otel.GetTracerProvider(), propagator: propagation.TraceContext{}}
	for _, opt := range opts {
		opt(&o)
	}
	return &Tracing{tracer: o.provider.Tracer(scope), propagator: o.propagator, linkOnly: o.linkOnly}
}

// StartPublish implements bus.PublishTracer.
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

// StartDelivery implements bus.DeliveryTracer.
func (t *Tracing) StartDelivery(ctx context.Context, transport, group string, d *bus.Delivery) (context.Context, func(error)) {
	remote := t.propagator.Extract(ctx, propagation.MapCarrier(d.Metadata))
	producer := trace.SpanContextFromContext(remote)
	attrs := []attribute.KeyValue{
		attribute.String("messaging.system", transport),
		attribute.String("messaging.destination.name", d.Record.Topic),
		attribute.String("messaging.destination.partition.id", strconv.Itoa(int(d.Record.Partition))),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.message.id", d.UUID),
		attribute.Int("messaging.message.body.size", len(d.Payload)),
		attribute.Int64("messaging.kafka.offset", d.Record.Offset),
		attribute.Int("trunkline.delivery.attempt", d.Attempt),
	}
	if group != "" {
		attrs = append(attrs, attribute.String("messaging.consumer.group.name", group))
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
