package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/examples/internal/exampletest"
	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestConsumerConcurrentKeepsTheOrderOfKeys(t *testing.T) {
	t.Parallel()
	k := exampletest.NewKafka(t)
	topic := k.Topic(2)
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf("k%d: m%02d", i%4, i))
	}
	k.Publish(topic, all...)
	vars := map[string]string{"KAFKA_CONSUMED_TOPIC": topic, "KAFKA_CONSUMED_GROUP": topic, "KAFKA_PARALLEL_MESSAGES": "4"}
	p := exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
		return run(ctx, exampletest.Env(k.Vars, vars), &p.Out, &p.Log)
	})
	p.Out.Await(t, all...)
	require.Zero(t, p.Interrupt(), p.Log.String())
	last := map[string]string{}
	for line := range strings.Lines(p.Out.String()) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		key, payload, _ := strings.Cut(text, ": ")
		require.Less(t, last[key], payload, "in the order of its key, once")
		last[key] = payload
	}
}

func TestConsumerConcurrentReportsErrors(t *testing.T) {
	t.Parallel()
	p := exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
		return run(ctx, exampletest.Env(map[string]string{"KAFKA_PARALLEL_MESSAGES": "none"}), &p.Out, &p.Log)
	})
	require.Equal(t, 2, p.Wait())
	require.Contains(t, p.Log.String(), "KAFKA_PARALLEL_MESSAGES")
}
