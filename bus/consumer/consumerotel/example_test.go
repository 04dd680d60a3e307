package consumerotel_test

import (
	"context"
	"fmt"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/consumer/consumerotel"
	"github.com/trunkline/trunkline/transport/memory"
)

func Example() {
	if err := measure(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// trunkline.consumer.handled: 0
}

func measure(ctx context.Context) error {
	transport, err := memory.New()
	if err != nil {
		return err
	}
	b, err := bus.New(transport)
	if err != nil {
		return err
	}
	defer b.Close()
	c, err := consumer.New(b, "orders", func(context.Context, *bus.Delivery) error { return nil })
	if err != nil {
		return err
	}
	defer c.Shutdown(ctx)

	reader := sdk.NewManualReader() // a program uses one that exports
	metrics, err := consumerotel.New(c, consumerotel.WithMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader))))
	if err != nil {
		return err
	}
	defer metrics.Close()

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &collected); err != nil {
		return err
	}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		if m.Name == "trunkline.consumer.handled" {
			fmt.Printf("%s: %d\n", m.Name, m.Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		}
	}
	return nil
}
