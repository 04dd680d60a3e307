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
	// trunkline.liveness.healthy 1
	// trunkline.liveness.live 1
	// trunkline.liveness.ready 1
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
	reg := probe.New()
	monitor, err := liveness.Attach(b, reg)
	if err != nil {
		return err
	}
	defer monitor.Close()

	reader := sdk.NewManualReader() // a program uses a reader that exports
	metrics, err := livenessotel.New(monitor, livenessotel.WithMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader))))
	if err != nil {
		return err
	}
	defer metrics.Close()
	if err := reg.WaitReady(ctx); err != nil {
		return err
	}

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &collected); err != nil {
		return err
	}
	var lines []string
	for _, m := range collected.ScopeMetrics[0].Metrics {
		if gauge, ok := m.Data.(metricdata.Gauge[int64]); ok {
			lines = append(lines, fmt.Sprint(m.Name, " ", gauge.DataPoints[0].Value))
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
	return nil
}
