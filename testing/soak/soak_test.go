package soak_test

import (
	"cmp"
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/testing/soak"
	"github.com/trunkline/trunkline/transport/kafka"
	"github.com/trunkline/trunkline/transport/memory"
)

var (
	messages = flag.Int("soak.messages", 0, "the number of messages; 0 means 5,000, and 100,000 on a cluster")
	events   = flag.Int("soak.events", 100, "the number of events")
	seed     = flag.Uint64("soak.seed", 0, "the seed of the events and the handler errors; 0 means a new seed, which the test prints")
	limit    = flag.Duration("soak.limit", 30*time.Minute, "the longest duration of a run")
)

const partitions = 8

// plan returns a plan with the flags; n is the default number of messages.
func plan(n int) soak.Plan {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	return soak.Plan{Topic: "orders", DeadLetterTopic: "orders.dead", Group: "billing", Partitions: partitions,
		Messages: cmp.Or(*messages, n), Events: *events, Seed: s}
}

// run runs the plan, prints the report, and checks it.
func run(t *testing.T, p soak.Plan) {
	t.Helper()
	t.Logf("to repeat this run use -soak.seed %d", p.Seed)
	ctx, cancel := context.WithTimeout(t.Context(), *limit)
	defer cancel()
	report, err := soak.Run(ctx, p)
	if report != nil {
		t.Log(report)
	}
	require.NoError(t, err)
	require.Empty(t, report.Violations)
	require.Zero(t, report.Lost)
	require.Equal(t, p.Messages, report.Published)
	require.Equal(t, p.Messages, report.Handled+report.DeadLettered)
	require.InDelta(t, 0.05, float64(report.Failed)/float64(report.Handlings), 0.02)
}

// The tests cannot run in parallel, because they check for goroutine leaks.
func TestSoakInMemory(t *testing.T) {
	leaktest.Test(t)
	p := plan(5_000)
	log, err := memory.NewLog(memory.WithPartitions(partitions), memory.WithMaxRecords(p.Messages))
	require.NoError(t, err)
	admin, err := memory.New(memory.WithLog(log))
	require.NoError(t, err)
	for _, topic := range []string{p.Topic, p.DeadLetterTopic} {
		require.NoError(t, admin.CreateTopic(t.Context(), bus.TopicSpec{Name: topic}))
	}
	require.NoError(t, admin.Close(t.Context()))
	p.MaxInterval = 50 * time.Millisecond // every step is fast in memory
	p.Open = func(_ string, opts ...bus.Option) (*bus.Bus, func(), error) {
		tr, err := memory.New(memory.WithLog(log))
		if err != nil {
			return nil, nil, err
		}
		b, err := bus.New(tr, opts...)
		return b, tr.Crash, err
	}
	run(t, p)
}

func TestSoakOnAnEmbeddedBroker(t *testing.T) {
	leaktest.Test(t)
	p := plan(5_000)
	broker := kafkatb.Embedded(t, kafkatest.WithTopics(partitions, p.Topic, p.DeadLetterTopic), kafkatest.WithMinSessionTimeout(500*time.Millisecond))
	p.MaxInterval = 100 * time.Millisecond
	p.Open = onKafka(broker, 500*time.Millisecond)
	run(t, p)
}

func TestSoakOnACluster(t *testing.T) {
	if os.Getenv(kafkatb.Env) == "" {
		t.Skipf("this test needs a real cluster, but %s is not set: run eval \"$(go run ./testing/kafkatest/cluster up)\"", kafkatb.Env)
	}
	leaktest.Test(t)
	p := plan(100_000)
	broker := kafkatb.New(t)
	p.Topic, p.DeadLetterTopic, p.Group = kafkatb.Topic(t, broker, partitions), kafkatb.Topic(t, broker, partitions), kafkatb.Name(t)
	p.Open = onKafka(broker, 2*time.Second)
	run(t, p)
}

// onKafka opens buses whose connections can be cut. With short time-outs the other members take over quickly
// from a killed one: after the session time-out, or after the rebalance time-out if it was killed while it
// joined.
func onKafka(broker *kafkatest.Broker, session time.Duration) func(string, ...bus.Option) (*bus.Bus, func(), error) {
	return func(_ string, opts ...bus.Option) (*bus.Bus, func(), error) {
		d := &kafkatest.Dialer{Timeout: 2 * time.Second}
		tr, err := kafka.New(broker.Addrs(), kafka.WithDialer(d.DialContext), kafka.WithTimeouts(kafka.Timeouts{Session: session, Rebalance: 3 * session}))
		if err != nil {
			return nil, nil, err
		}
		b, err := bus.New(tr, opts...)
		return b, d.Cut, err
	}
}

func TestRunRejectsIncompletePlans(t *testing.T) {
	open := func(string, ...bus.Option) (*bus.Bus, func(), error) { panic("opened") }
	for name, tt := range map[string]struct {
		plan soak.Plan
		want string
	}{
		"no group":    {soak.Plan{Topic: "a", DeadLetterTopic: "b", Partitions: 1, Messages: 1, Open: open}, "Plan.Topic, Plan.DeadLetterTopic and Plan.Group must not be empty"},
		"no messages": {soak.Plan{Topic: "a", DeadLetterTopic: "b", Group: "c", Partitions: 1, Open: open}, "Plan.Partitions and Plan.Messages must be at least 1"},
		"no bus":      {soak.Plan{Topic: "a", DeadLetterTopic: "b", Group: "c", Partitions: 1, Messages: 1}, "Plan.Open must not be nil"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := soak.Run(t.Context(), tt.plan)
			require.ErrorContains(t, err, tt.want)
		})
	}
}
