package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/examples/internal/exampletest"
	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestProducerPublishesEachLine(t *testing.T) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		sends(t, exampletest.NewKafka(t))
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		sends(t, exampletest.NewSecureKafka(t))
	})
}

func sends(t *testing.T, k *exampletest.Kafka) {
	topic := k.Topic(1)
	vars := map[string]string{"KAFKA_PRODUCED_TOPIC": topic, "CHOMP_MSG": "true", "KAFKA_WAIT_PRODUCER_READY": "true"}
	p := exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
		return run(ctx, exampletest.Env(k.Vars, vars), strings.NewReader("one\ntwo\nthree"), &p.Out, &p.Log)
	})
	require.Zero(t, p.Wait(), p.Log.String())
	require.Equal(t, "sent to partition 0, offset 0\nsent to partition 0, offset 1\nsent to partition 0, offset 2\n", p.Out.String())
	read := make(chan string, 3)
	sub, err := k.Bus.Consume(t.Context(), topic, func(_ context.Context, d *bus.Delivery) error {
		read <- string(d.Payload)
		return nil
	}, bus.FromOldest())
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two", "three"}, []string{<-read, <-read, <-read})
	require.NoError(t, sub.Shutdown(t.Context()))
}

func TestInterruptedProducerEnds(t *testing.T) {
	t.Parallel()
	k := exampletest.NewKafka(t)
	in, line := io.Pipe()
	vars := map[string]string{"KAFKA_PRODUCED_TOPIC": k.Topic(1)}
	p := exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
		return run(ctx, exampletest.Env(k.Vars, vars), in, &p.Out, &p.Log)
	})
	_, err := io.WriteString(line, "one\n")
	require.NoError(t, err)
	p.Out.Await(t, "offset 0")
	require.Zero(t, p.Interrupt(), p.Log.String())
	require.NoError(t, line.Close()) // ends the goroutine that reads it
}

func TestProducerReportsErrors(t *testing.T) {
	t.Parallel()
	for says, vars := range map[string]map[string]string{
		"KAFKA_SEC_PROTO":           {"KAFKA_SEC_PROTO": "SSL3"},
		"GRACEFUL_SHUTDOWN_TIMEOUT": {"GRACEFUL_SHUTDOWN_TIMEOUT": "soon"},
		"CHOMP_MSG":                 {"CHOMP_MSG": "perhaps"},
	} {
		p := exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
			return run(ctx, exampletest.Env(vars), strings.NewReader(""), &p.Out, &p.Log)
		})
		require.Equal(t, 2, p.Wait())
		require.Contains(t, p.Log.String(), says)
	}
	k := exampletest.NewKafka(t)
	p := exampletest.Run(t, func(ctx context.Context, p *exampletest.Program) int {
		return run(ctx, exampletest.Env(k.Vars, map[string]string{"KAFKA_PRODUCED_TOPIC": "not-there"}), strings.NewReader("x"), &p.Out, &p.Log)
	})
	require.Equal(t, 1, p.Wait())
	require.Contains(t, p.Log.String(), "not_found")
}
