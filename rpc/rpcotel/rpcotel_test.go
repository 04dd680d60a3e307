package rpcotel_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/rpcotel"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type text struct{ Text string }

// The handler makes a further call, which belongs to the same trace.
func TestCallsAreTracedAndMeasuredOnBothSides(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	spans := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	opts := []rpcotel.Option{rpcotel.WithTracerProvider(tracers), rpcotel.WithMeterProvider(meters)}

	tr, err := memory.New()
	require.NoError(t, err)
	b, err := bus.New(tr)
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, b.EnsureTopic(ctx, bus.TopicSpec{Name: "greeter"}))
	c, err := rpc.NewClient(b, rpc.WithInterceptors(rpcotel.Client(opts...)))
	require.NoError(t, err)
	defer c.Close()
	s, err := rpc.NewServer(b, rpc.WithInterceptors(rpcotel.Server(opts...)), bus.Unordered())
	require.NoError(t, err)
	require.NoError(t, rpc.Handle(s, "outer", func(ctx context.Context, r *text) (*text, error) {
		return rpc.Call[text](ctx, c, "greeter", "inner", r)
	}))
	require.NoError(t, rpc.Handle(s, "inner", func(ctx context.Context, r *text) (*text, error) {
		info, _ := rpc.FromContext(ctx)
		assert.NotEmpty(t, info.Metadata["traceparent"])
		assert.Equal(t, "kept", r.Text)
		return nil, status.Error(codes.NotFound, "a secret")
	}))
	require.NoError(t, rpc.Handle(s, "broken", func(context.Context, *text) (*text, error) { panic("broken") }))
	require.NoError(t, s.Listen("greeter"))
	defer s.Close()

	parent, span := tracers.Tracer("test").Start(ctx, "caller")
	_, err = rpc.Call[text](parent, c, "greeter", "outer", &text{"kept"})
	require.Equal(t, codes.NotFound, rpc.CodeOf(err))
	_, err = rpc.Call[text](parent, c, "greeter", "broken", &text{})
	require.Equal(t, codes.Internal, rpc.CodeOf(err))
	span.End()
	require.NoError(t, s.Shutdown(ctx))

	byName := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range spans.Ended() {
		byName[s.SpanKind().String()+" "+s.Name()] = s
		require.Equal(t, span.SpanContext().TraceID(), s.SpanContext().TraceID(), s.Name())
		for _, a := range s.Attributes() {
			require.NotContains(t, a.Value.String(), "secret")
		}
		require.NotContains(t, s.Status().Description, "secret")
	}
	under := span.SpanContext().SpanID()
	for _, name := range []string{"client greeter/outer", "server greeter/outer", "client greeter/inner", "server greeter/inner"} {
		s := byName[name]
		require.NotNil(t, s, name)
		require.Equal(t, under, s.Parent().SpanID(), name)
		under = s.SpanContext().SpanID()
		require.Contains(t, s.Attributes(), attribute.String("rpc.response.status_code", "NotFound"))
	}
	require.Equal(t, otelcodes.Unset, byName["server greeter/inner"].Status().Code, "not the server's fault")
	require.Equal(t, otelcodes.Error, byName["client greeter/inner"].Status().Code)
	require.Equal(t, otelcodes.Error, byName["server greeter/broken"].Status().Code, "a panic sets the status of the span")
	require.Equal(t, trace.SpanKindServer, byName["server greeter/broken"].SpanKind())

	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(ctx, &data))
	counts := map[string]uint64{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			method, _ := p.Attributes.Value("rpc.method")
			code, _ := p.Attributes.Value("rpc.response.status_code")
			counts[m.Name+" "+method.AsString()+" "+code.AsString()] += p.Count
		}
	}
	require.Equal(t, map[string]uint64{
		"rpc.client.call.duration outer NotFound": 1, "rpc.server.call.duration outer NotFound": 1,
		"rpc.client.call.duration inner NotFound": 1, "rpc.server.call.duration inner NotFound": 1,
		"rpc.client.call.duration broken Internal": 1, "rpc.server.call.duration broken Internal": 1,
	}, counts)
}
