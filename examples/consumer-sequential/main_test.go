package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/examples/internal/exampletest"
	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestConsumerSequentialPrintsInOrder(t *testing.T) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		prints(t, exampletest.NewKafka(t))
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		prints(t, exampletest.NewSecureKafka(t))
	})
}

func prints(t *testing.T, k *exampletest.Kafka) {
	topic := k.Topic(1)
	k.Publish(topic, "a: one", "b: two")
	vars := map[string]string{"KAFKA_CONSUMED_TOPIC": topic, "KAFKA_CONSUMED_GROUP": topic}
	start := func() *exampletest.Program {
		return exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
			return run(ctx, exampletest.Env(k.Vars, vars), &p.Out, &p.Log)
		})
	}
	p := start()
	p.Out.Await(t, "two")
	k.Publish(topic, "a: three")
	p.Out.Await(t, "three")
	require.Equal(t, "0/0 a: one\n0/1 b: two\n0/2 a: three\n", p.Out.String(), "in order")
	require.Zero(t, p.Interrupt(), p.Log.String())

	k.Publish(topic, "a: four")
	p = start()
	p.Out.Await(t, "four")
	require.Equal(t, "0/3 a: four\n", p.Out.String(), "a handled message is not handled again")
	require.Zero(t, p.Interrupt(), p.Log.String())
}

func TestConsumerSequentialReportsErrors(t *testing.T) {
	t.Parallel()
	p := exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
		return run(ctx, exampletest.Env(map[string]string{"KAFKA_SEC_CA_CERTS": "ca.pem"}), &p.Out, &p.Log)
	})
	require.Equal(t, 2, p.Wait())
	require.Contains(t, p.Log.String(), "KAFKA_SEC_PROTO must be TLS")
	k := exampletest.NewKafka(t)
	p = exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
		return run(ctx, exampletest.Env(k.Vars, map[string]string{"KAFKA_CONSUMED_TOPIC": "not-there"}), &p.Out, &p.Log)
	})
	require.Equal(t, 1, p.Wait(), "a missing topic ends the program")
	require.Contains(t, p.Log.String(), "not_found")
}
