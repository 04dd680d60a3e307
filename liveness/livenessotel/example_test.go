package livenessotel_test

import (
	"context"
	"fmt"
	"slices"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/livenessotel"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/transport/memory"
)

func Example() {
	if err := measure(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// trunkline.liveness.healthy
	// trunkline.liveness.last_success.age
	// trunkline.liveness.live
	// trunkline.liveness.ready
	// trunkline.liveness.transitions
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
	monitor, err := liveness.Attach(b, probe.New())
	if err != nil {
		return err
	}
	defer monitor.Close()

	reader := sdk.NewManualReader() // a program has one that exports
	metrics, err := livenessotel.New(monitor, livenessotel.WithMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader))))
	if err != nil {
		return err
	}
	defer metrics.Close()

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &collected); err != nil {
		return err
	}
	var names []string
	for _, m := range collected.ScopeMetrics[0].Metrics {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Println(name)
	}
	return nil
}
