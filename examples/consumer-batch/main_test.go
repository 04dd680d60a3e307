package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/examples/internal/exampletest"
	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestConsumerBatchPrintsBatches(t *testing.T) {
	t.Parallel()
	k := exampletest.NewKafka(t)
	topic := k.Topic(1)
	k.Publish(topic, "a: 1", "a: 2", "a: 3", "a: 4", "a: 5", "a: 6", "a: 7")
	vars := map[string]string{"KAFKA_CONSUMED_TOPIC": topic, "KAFKA_CONSUMED_GROUP": topic, "KAFKA_BATCH_SIZE": "3", "KAFKA_BATCH_WAIT_TIME": "10ms"}
	p := exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
		return run(ctx, exampletest.Env(k.Vars, vars), &p.Out, &p.Log)
	})
	// The sizes of the batches depend on how the records arrive. But all records arrive, in order and
	// once.
	p.Out.Await(t, "to 0/6")
	require.Zero(t, p.Interrupt(), p.Log.String())
	require.Contains(t, p.Out.String(), "messages: 0/0 to ")
}

func TestConsumerBatchReportsErrors(t *testing.T) {
	t.Parallel()
	p := exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
		return run(ctx, exampletest.Env(map[string]string{"KAFKA_BATCH_SIZE": "0"}), &p.Out, &p.Log)
	})
	require.Equal(t, 2, p.Wait())
	require.Contains(t, p.Log.String(), "KAFKA_BATCH_SIZE")
}
