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
	messages = flag.Int("soak.messages", 0, "how many messages each test sends; 0 is 5,000, and 100,000 to a cluster")
	events   = flag.Int("soak.events", 100, "how often something happens to the members")
	seed     = flag.Uint64("soak.seed", 0, "what happens and what fails; 0 takes another each time, and prints it")
	limit    = flag.Duration("soak.limit", 30*time.Minute, "how long a run may take at the most")
)

const partitions = 8

// plan is what the tests have in common; n is how many messages there are by default.
func plan(n int) soak.Plan {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	return soak.Plan{Topic: "orders", DeadLetters: "orders.dead", Group: "billing", Partitions: partitions,
		Messages: cmp.Or(*messages, n), Events: *events, Seed: s}
}

// run runs the plan, and prints what came of it.
func run(t *testing.T, p soak.Plan) {
	t.Helper()
	t.Logf("seed %d: -soak.seed %d makes the same plan", p.Seed, p.Seed)
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

// Not parallel, as the others: they look for goroutines that are left.
func TestMemory(t *testing.T) {
	leaktest.Test(t)
	p := plan(5_000)
	log, err := memory.NewLog(memory.WithPartitions(partitions), memory.WithMaxRecords(p.Messages))
	require.NoError(t, err)
	admin, err := memory.New(memory.WithLog(log))
	require.NoError(t, err)
	for _, topic := range []string{p.Topic, p.DeadLetters} {
		require.NoError(t, admin.CreateTopic(t.Context(), bus.TopicSpec{Name: topic}))
	}
	require.NoError(t, admin.Close(t.Context()))
	p.Pace = 50 * time.Millisecond // nothing takes longer here
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

func TestEmbeddedBroker(t *testing.T) {
	leaktest.Test(t)
	p := plan(5_000)
	broker := kafkatb.Embedded(t, kafkatest.WithTopics(partitions, p.Topic, p.DeadLetters), kafkatest.WithMinSessionTimeout(500*time.Millisecond))
	p.Pace = 100 * time.Millisecond
	p.Open = onKafka(broker, 500*time.Millisecond)
	run(t, p)
}

func TestCluster(t *testing.T) {
	if os.Getenv(kafkatb.Env) == "" {
		t.Skipf("needs a real cluster, and %s is not set: run eval \"$(go run ./testing/kafkatest/cluster up)\"", kafkatb.Env)
	}
	leaktest.Test(t)
	p := plan(100_000)
	broker := kafkatb.New(t)
	p.Topic, p.DeadLetters, p.Group = kafkatb.Topic(t, broker, partitions), kafkatb.Topic(t, broker, partitions), kafkatb.Name(t)
	p.Open = onKafka(broker, 2*time.Second)
	run(t, p)
}

// onKafka opens buses whose network can be taken away. Short time-outs make others take
// over soon from who was killed: that takes a session's, and a rebalance's when it was
// killed while it joined.
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

func TestRunRefuses(t *testing.T) {
	open := func(string, ...bus.Option) (*bus.Bus, func(), error) { panic("opened") }
	for name, tt := range map[string]struct {
		plan soak.Plan
		want string
	}{
		"no group":    {soak.Plan{Topic: "a", DeadLetters: "b", Partitions: 1, Messages: 1, Open: open}, "needs a topic, a topic for dead letters, and a group"},
		"no messages": {soak.Plan{Topic: "a", DeadLetters: "b", Group: "c", Partitions: 1, Open: open}, "no partitions or no messages"},
		"no bus":      {soak.Plan{Topic: "a", DeadLetters: "b", Group: "c", Partitions: 1, Messages: 1}, "can't open a bus"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := soak.Run(t.Context(), tt.plan)
			require.ErrorContains(t, err, tt.want)
		})
	}
}
