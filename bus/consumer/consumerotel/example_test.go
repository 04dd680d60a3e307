package consumerotel_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/consumer/consumerotel"
	_ "github.com/trunkline/trunkline/transport/memory" // for memory://
)

func Example() {
	b, err := bus.Open(context.Background(), "memory://?create=true")
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if err := b.Publish("orders", message.NewMessage(watermill.NewUUID(), []byte("tea"))); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c, err := consumer.New(b, "orders", func(context.Context, *bus.Delivery) error {
		cancel()
		return nil
	}, bus.Group("shop"))
	if err != nil {
		log.Fatal(err)
	}

	reader := sdk.NewManualReader() // a program uses one that exports
	metrics, err := consumerotel.New(c, consumerotel.WithMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader))))
	if err != nil {
		log.Fatal(err)
	}
	defer metrics.Close()
	if err := c.Run(ctx); err != nil {
		log.Fatal(err)
	}

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &collected); err != nil {
		log.Fatal(err)
	}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		if m.Name == "trunkline.consumer.handled" {
			fmt.Println(m.Name, m.Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		}
	}
	// Output: trunkline.consumer.handled 1
}
