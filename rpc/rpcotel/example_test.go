package rpcotel_test

import (
	"context"
	"fmt"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/rpcotel"
	"github.com/trunkline/trunkline/transport/memory"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// The spans of client and server belong to one trace.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tr, err := memory.New()
	check(err)
	b, err := bus.New(tr)
	check(err)
	defer b.Close()
	check(b.EnsureTopic(ctx, bus.TopicSpec{Name: "greeter"}))
	spans := tracetest.NewSpanRecorder()
	tracers := rpcotel.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))

	s, err := rpc.NewServer(b, rpc.WithInterceptors(rpcotel.Server(tracers)))
	check(err)
	check(rpc.Handle(s, "Greet", func(_ context.Context, name *string) (*string, error) {
		text := "hello " + *name
		return &text, nil
	}))
	check(s.Listen("greeter"))
	c, err := rpc.NewClient(b, rpc.WithInterceptors(rpcotel.Client(tracers)))
	check(err)
	defer c.Close()
	name := "Ada"
	_, err = rpc.Call[string](ctx, c, "greeter", "Greet", &name)
	check(err)
	check(s.Close())

	ended := spans.Ended()
	for _, kind := range []string{"client", "server"} {
		for _, span := range ended {
			if span.SpanKind().String() == kind {
				fmt.Println(kind, span.Name(), span.SpanContext().TraceID() == ended[0].SpanContext().TraceID())
			}
		}
	}
	// Output:
	// client greeter/Greet true
	// server greeter/Greet true
}
