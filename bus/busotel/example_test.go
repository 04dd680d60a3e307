package busotel_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/busotel"
	_ "github.com/trunkline/trunkline/transport/memory" // for memory://
)

// The span of the handler belongs to the trace of the publisher.
func Example() {
	recorder := tracetest.NewSpanRecorder() // a program uses an exporter
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
	b, err := bus.Open(context.Background(), "memory://?create=true", bus.WithHooks(busotel.New(busotel.WithTracerProvider(provider))))
	if err != nil {
		log.Fatal(err)
	}

	ctx, request := provider.Tracer("shop").Start(context.Background(), "POST /orders")
	handled := make(chan trace.TraceID)
	_, err = b.Consume(ctx, "orders", func(ctx context.Context, d *bus.Delivery) error {
		handled <- trace.SpanContextFromContext(ctx).TraceID()
		return nil
	}, bus.Group("billing"))
	if err != nil {
		log.Fatal(err)
	}
	m := message.NewMessageWithContext(ctx, watermill.NewUUID(), []byte("o-1"))
	if err := b.Publish("orders", m); err != nil {
		log.Fatal(err)
	}
	fmt.Println("same trace:", <-handled == request.SpanContext().TraceID())
	if err := b.Close(); err != nil { // waits for the handler
		log.Fatal(err)
	}
	request.End()
	for _, span := range recorder.Ended() {
		fmt.Println(span.SpanKind(), span.Name())
	}
	// Output:
	// same trace: true
	// producer send orders
	// consumer process orders
	// internal POST /orders
}
