package chaos_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/testing/chaos"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// This test needs no cluster: it kills members, on an embedded broker. It cannot run in parallel, because it
// checks for goroutine leaks.
func TestKilledMembersLoseNothing(t *testing.T) {
	leaktest.Test(t)
	broker := kafkatb.Embedded(t, kafkatest.WithTopics(4, "orders"), kafkatest.WithMinSessionTimeout(500*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	run, err := chaos.Start(ctx, chaos.Load{
		Topic: "orders", Partitions: 4, Addrs: broker.Addrs(), Publishers: 4, Groups: []string{"one", "two"},
		Open: func(_ string, opts ...bus.Option) (*bus.Bus, func(), error) {
			return open(broker.Addrs(), &kafkatest.Dialer{}, logger, opts,
				kafka.WithTimeouts(kafka.Timeouts{Session: time.Second}))
		},
	})
	require.NoError(t, err)
	for _, group := range []string{"one", "two", "one"} {
		require.NoError(t, run.Step(ctx, "kill a member of "+group, func(context.Context, func(string)) error { return run.KillMember(group) }))
	}
	require.ErrorContains(t, run.KillMember("absent"), `group "absent" has no members`)

	history, err := run.Stop(ctx)
	for _, f := range chaos.Report(history, 4) {
		t.Log(f)
	}
	figures := chaos.Count(history, "one", "two")
	t.Logf("\n%v", figures)
	for _, v := range chaos.Check(history, "one", "two") {
		t.Error(v)
	}
	require.NoError(t, err)
	require.Zero(t, figures.Lost)
	require.Equal(t, figures.Published, figures.Acknowledged)
	require.Equal(t, figures.Published, figures.Groups["one"].Handled)
	for _, group := range []string{"one", "two"} {
		require.GreaterOrEqual(t, figures.Groups[group].Claims, 4)
		var committed int64
		for _, next := range history.Committed[group] {
			committed += next
		}
		require.Equal(t, int64(len(history.Log)), committed, "Close commits everything that was handled")
	}
}

func TestStartRejectsIncompleteLoads(t *testing.T) {
	t.Parallel()
	open := func(string, ...bus.Option) (*bus.Bus, func(), error) { panic("opened") }
	for name, tt := range map[string]struct {
		load chaos.Load
		want string
	}{
		"no topic":      {chaos.Load{Partitions: 1, Addrs: []string{"127.0.0.1:1"}, Open: open}, "Load.Topic must not be empty"},
		"no partitions": {chaos.Load{Topic: "a", Addrs: []string{"127.0.0.1:1"}, Open: open}, "Load.Partitions must be at least 1, got 0"},
		"no brokers":    {chaos.Load{Topic: "a", Partitions: 1, Open: open}, "Load.Addrs must not be empty"},
		"no bus":        {chaos.Load{Topic: "a", Partitions: 1, Addrs: []string{"127.0.0.1:1"}}, "Load.Open must not be nil"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := chaos.Start(t.Context(), tt.load)
			require.ErrorContains(t, err, tt.want)
		})
	}
}
