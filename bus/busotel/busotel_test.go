package busotel_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/busotel"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/bus/producer"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// publishAndHandle publishes one message in a span named "outer". Its handler fails the first
// time. It returns the spans in the order of their end.
func publishAndHandle(t *testing.T, b *bus.Bus, rec *tracetest.SpanRecorder, tracer trace.Tracer) []sdk.ReadOnlySpan {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, b.EnsureTopic(ctx, bus.TopicSpec{Name: "t"}))
	handled := make(chan trace.SpanContext, 1)
	sub, err := b.Consume(ctx, "t", func(ctx context.Context, d *bus.Delivery) error {
		if d.Attempt == 1 {
			return bus.RetryAfter(time.Millisecond, errors.New("not yet"))
		}
		handled <- trace.SpanContextFromContext(ctx)
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, sub.Ready(ctx))
	outer, span := tracer.Start(ctx, "outer")
	m := message.NewMessage("id", []byte("x"))
	m.SetContext(outer)
	require.NoError(t, b.Publish("t", m))
	span.End()
	require.Empty(t, m.Metadata, "the caller's message is not changed")
	select {
	case <-handled:
	case <-ctx.Done():
		require.FailNow(t, "the message was not handled", ctx.Err())
	}
	require.NoError(t, b.Close())
	return rec.Ended()
}

func named(spans []sdk.ReadOnlySpan, name string) (found []sdk.ReadOnlySpan) {
	for _, s := range spans {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

func TestHandlerSpanFollowsPublisherSpan(t *testing.T) {
	t.Parallel()
	for name, linkOnly := range map[string]bool{"child": false, "link only": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := tracetest.NewSpanRecorder()
			provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(rec))
			opts := []busotel.Option{busotel.WithTracerProvider(provider)}
			if linkOnly {
				opts = append(opts, busotel.WithLinkOnly())
			}
			tr, err := memory.New()
			require.NoError(t, err)
			b, err := bus.New(tr, bus.WithHooks(busotel.New(opts...)))
			require.NoError(t, err)
			spans := publishAndHandle(t, b, rec, provider.Tracer("test"))

			outer, send, process := named(spans, "outer"), named(spans, "send t"), named(spans, "process t")
			require.Len(t, outer, 1)
			require.Len(t, send, 1)
			require.Len(t, process, 2, "one span for each attempt")
			require.Equal(t, trace.SpanKindProducer, send[0].SpanKind())
			require.Equal(t, outer[0].SpanContext().SpanID(), send[0].Parent().SpanID())
			require.Contains(t, send[0].Attributes(), attribute.String("messaging.destination.partition.id", "0"))
			require.Equal(t, codes.Unset, send[0].Status().Code)
			for _, p := range process {
				require.Equal(t, trace.SpanKindConsumer, p.SpanKind())
				require.Len(t, p.Links(), 1)
				require.Equal(t, send[0].SpanContext().SpanID(), p.Links()[0].SpanContext.SpanID())
				if linkOnly {
					require.NotEqual(t, send[0].SpanContext().TraceID(), p.SpanContext().TraceID())
					require.False(t, p.Parent().IsValid())
				} else {
					require.Equal(t, send[0].SpanContext().SpanID(), p.Parent().SpanID())
				}
			}
			require.Equal(t, codes.Error, process[0].Status().Code)
			require.Equal(t, codes.Unset, process[1].Status().Code)
		})
	}
}

func TestProducerSendIsAChildOfTheCallersSpan(t *testing.T) {
	t.Parallel()
	rec := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(rec))
	tr, err := memory.New()
	require.NoError(t, err)
	b, err := bus.New(tr, bus.WithHooks(busotel.New(busotel.WithTracerProvider(provider))))
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "t"}))
	p, err := producer.New(b, "t")
	require.NoError(t, err)
	typed, err := producer.NewTyped[string](p, codec.JSON)
	require.NoError(t, err)

	ctx, span := provider.Tracer("test").Start(t.Context(), "outer")
	_, err = p.Send(ctx, message.NewMessage("id", nil))
	require.NoError(t, err)
	_, err = typed.Send(ctx, "text")
	require.NoError(t, err)
	_, err = typed.SendAsync(ctx, "text")
	require.NoError(t, err)
	require.NoError(t, p.Close())
	span.End()
	sends := named(rec.Ended(), "send t")
	require.Len(t, sends, 3)
	for _, s := range sends {
		require.Equal(t, span.SpanContext().SpanID(), s.Parent().SpanID())
	}
}

func TestFailedPublishEndsItsSpanWithTheError(t *testing.T) {
	t.Parallel()
	rec := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(rec))
	tr, err := memory.New()
	require.NoError(t, err)
	b, err := bus.New(tr, bus.WithHooks(busotel.New(busotel.WithTracerProvider(provider))))
	require.NoError(t, err)
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(b.Publish("nowhere", message.NewMessage("id", nil))))
	require.NoError(t, b.Close())
	spans := rec.Ended()
	require.Len(t, spans, 1)
	require.Equal(t, codes.Error, spans[0].Status().Code)
	require.Contains(t, spans[0].Attributes(), attribute.String("error.type", "not_found"))
}

func TestWithoutAProviderNoHeaderIsAdded(t *testing.T) {
	t.Parallel()
	tr, err := gochannel.New()
	require.NoError(t, err)
	b, err := bus.New(tr, bus.WithHooks(busotel.New()))
	require.NoError(t, err)
	got := make(chan message.Metadata, 1)
	sub, err := b.Consume(t.Context(), "t", func(_ context.Context, d *bus.Delivery) error {
		got <- d.Message().Metadata
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, sub.Ready(t.Context()))
	require.NoError(t, b.Publish("t", message.NewMessage("id", nil)))
	select {
	case headers := <-got:
		require.Empty(t, headers)
	case <-time.After(time.Minute):
		require.FailNow(t, "the message was not handled")
	}
	require.NoError(t, b.Close())
}
