package chaos_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

var (
	long   = flag.Bool("chaos.long", false, "run every failure on every node, instead of each failure once")
	rounds = flag.Int("chaos.rounds", 1, "with -chaos.long: the number of rounds")
)

// envCluster is the environment variable with the folder of the cluster to break. The cluster command
// prints it.
const envCluster = "TRUNKLINE_KAFKA_CLUSTER"

const (
	partitions = 8
	// targetOutage is how long the loss of a leader should last: the session time-out of the brokers
	// and two seconds. The tests print whether it is met. They fail only above maxOutage, because the
	// machine may be slow.
	targetOutage = 5 * time.Second
	maxOutage    = 6 * targetOutage
	// stepTimeout bounds each step, and the wait for the remaining deliveries.
	stepTimeout = 3 * time.Minute
)

// clusterRun is a cluster with a running load.
type clusterRun struct {
	*chaos.Run
	t       *testing.T
	cluster chaos.Cluster
	brokers chaos.Brokers
	topic   string
	losses  []loss
}

// loss is a step in which a leader was lost.
type loss struct {
	step       string
	controller bool // the leader was also the active controller
}

func newClusterRun(t *testing.T) *clusterRun {
	dir := os.Getenv(envCluster)
	if dir == "" {
		t.Skipf("this test breaks a real cluster, but %s is not set: run eval \"$(go run ./testing/kafkatest/cluster up)\"", envCluster)
	}
	if os.Getenv(kafkatb.Env) == "" {
		t.Fatalf("%s is set, but %s is not: the cluster command prints both", envCluster, kafkatb.Env)
	}
	leaktest.Test(t)
	broker := kafkatb.New(t, kafkatest.WithBrokers(3))
	command := filepath.Join(t.TempDir(), "cluster")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, "github.com/trunkline/trunkline/testing/kafkatest/cluster").CombinedOutput()
	require.NoError(t, err, "%s", out)
	s := &clusterRun{t: t, cluster: chaos.Cluster{Command: command, Dir: dir}, brokers: broker.Addrs(), topic: kafkatb.Topic(t, broker, partitions)}
	ctx := s.bounded()
	require.NoError(t, s.brokers.WaitInSync(ctx))
	s.Run, err = chaos.Start(ctx, chaos.Load{
		Topic: s.topic, Partitions: partitions, Addrs: broker.Addrs(),
		Open: func(name string, opts ...bus.Option) (*bus.Bus, func(), error) {
			d := &kafkatest.Dialer{Timeout: 2 * time.Second}
			return open(broker.Addrs(), d, logger.With("bus", name), opts)
		},
	})
	require.NoError(t, err)
	return s
}

// open opens a bus with the default options of the transport and a dialer that can be cut.
func open(addrs []string, d *kafkatest.Dialer, logger *slog.Logger, opts []bus.Option, own ...kafka.Option) (*bus.Bus, func(), error) {
	t, err := kafka.New(addrs, append(own, kafka.WithDialer(d.DialContext), kafka.WithLogger(logger))...)
	if err != nil {
		return nil, nil, err
	}
	b, err := bus.New(t, append(opts, bus.WithLogger(logger))...)
	return b, d.Cut, err
}

func (s *clusterRun) bounded() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), stepTimeout)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *clusterRun) step(name string, f func(context.Context, func(string)) error) {
	s.t.Helper()
	s.t.Log(name)
	require.NoError(s.t, s.Step(s.bounded(), name, f))
}

// leader returns a node that leads partitions of the topic and is not the active controller.
// TestEveryFailureInRounds also breaks the controller.
func (s *clusterRun) leader() int32 {
	s.t.Helper()
	leaders, err := s.brokers.Leaders(s.bounded(), s.topic)
	require.NoError(s.t, err)
	controller, err := s.brokers.Controller(s.bounded())
	require.NoError(s.t, err)
	i := slices.IndexFunc(leaders, func(l int32) bool { return l >= 0 && l != controller })
	require.GreaterOrEqual(s.t, i, 0, "leaders %v, controller %d", leaders, controller)
	return leaders[i]
}

// lose makes a leader unavailable for a while, and restores it.
func (s *clusterRun) lose(node int32, verb string, lose func(context.Context, ...int32) error, restoreVerb string, restore func(context.Context, ...int32) error, unavailable time.Duration) {
	s.t.Helper()
	leaders, err := s.brokers.Leaders(s.bounded(), s.topic)
	require.NoError(s.t, err)
	controller, err := s.brokers.Controller(s.bounded())
	require.NoError(s.t, err)
	led := 0
	for _, l := range leaders {
		if l == node {
			led++
		}
	}
	name := fmt.Sprintf("%s node %d, leader of %d", verb, node, led)
	if controller == node {
		name += ", active controller"
	}
	s.losses = append(s.losses, loss{name, controller == node})
	s.step(name, func(ctx context.Context, _ func(string)) error {
		if err := lose(ctx, node); err != nil {
			return err
		}
		return sleep(ctx, unavailable)
	})
	s.step(fmt.Sprintf("%s node %d", restoreVerb, node), func(ctx context.Context, mark func(string)) error {
		return s.restore(ctx, mark, restore, node)
	})
	s.electPreferredLeaders()
}

func (s *clusterRun) restore(ctx context.Context, mark func(string), restore func(context.Context, ...int32) error, nodes ...int32) error {
	if err := restore(ctx, nodes...); err != nil {
		return err
	}
	mark("the nodes answer")
	if err := s.brokers.WaitInSync(ctx); err != nil {
		return err
	}
	mark("in sync")
	return nil
}

func (s *clusterRun) electPreferredLeaders() {
	s.t.Helper()
	s.step("elect the preferred leaders", func(ctx context.Context, _ func(string)) error { return s.brokers.ElectPreferredLeaders(ctx, s.topic) })
}

func (s *clusterRun) kill(node int32, unavailable time.Duration) {
	s.t.Helper()
	s.lose(node, "kill", s.cluster.Kill, "restart", s.cluster.Start, unavailable)
}

func (s *clusterRun) roll(node int32, unavailable time.Duration) {
	s.t.Helper()
	s.lose(node, "stop", s.cluster.Stop, "restart", s.cluster.Start, unavailable)
}

func (s *clusterRun) pause(node int32, unavailable time.Duration) {
	s.t.Helper()
	resumed := false
	s.t.Cleanup(func() { // do not leave a paused broker behind
		if !resumed {
			_ = s.cluster.Resume(context.WithoutCancel(s.t.Context()), node)
		}
	})
	s.lose(node, "pause", s.cluster.Pause, "resume", s.cluster.Resume, unavailable)
	resumed = true
}

func (s *clusterRun) killMembers(groups ...string) {
	s.t.Helper()
	for _, g := range groups {
		s.step("kill a member of "+g[len(s.topic):], func(ctx context.Context, _ func(string)) error {
			if err := s.KillMember(g); err != nil {
				return err
			}
			return sleep(ctx, time.Second) // the member can still handle the records that it has
		})
	}
}

func (s *clusterRun) allDown(unavailable time.Duration) {
	s.t.Helper()
	s.step(fmt.Sprintf("all brokers down for %v", unavailable), func(ctx context.Context, mark func(string)) error {
		if err := s.cluster.Kill(ctx, 1, 2, 3); err != nil {
			return err
		}
		if err := sleep(ctx, unavailable); err != nil {
			return err
		}
		mark("restart")
		return s.restore(ctx, mark, s.cluster.Start, 1, 2, 3)
	})
	s.electPreferredLeaders()
}

func (s *clusterRun) groups() []string { return []string{s.topic + "-a", s.topic + "-b"} }

// verify stops the load, prints the figures and checks the rules.
func (s *clusterRun) verify() {
	s.t.Helper()
	history, err := s.Stop(s.bounded())
	report := chaos.Report(history, partitions, s.groups()...)
	for _, f := range report {
		s.t.Log(f)
	}
	s.t.Logf("\n%v", chaos.Count(history, s.groups()...))
	for reason, n := range history.Errors {
		s.t.Logf("%d times: %s", n, reason)
	}
	for i, v := range chaos.Check(history, s.groups()...) {
		if i < 50 {
			s.t.Error(v)
		}
	}
	require.NoError(s.t, err)
	ends := make(map[int32]int64)
	for _, e := range history.Log {
		ends[e.Place.Partition] = max(ends[e.Place.Partition], e.Place.Offset+1)
	}
	for group, offsets := range history.Committed {
		require.Equal(s.t, ends, offsets, "after close, group %s has committed everything that it handled", group)
	}
	for _, f := range report {
		i := slices.IndexFunc(s.losses, func(l loss) bool { return l.step == f.Name })
		if i < 0 {
			continue
		}
		publishing, delivery := f.Longest()
		longest := max(publishing, delivery)
		switch {
		case longest <= targetOutage:
			s.t.Logf("%s: an outage of %.2f s, within the target of %v", f.Name, longest.Seconds(), targetOutage)
		case s.losses[i].controller:
			s.t.Logf("%s: an outage of %.2f s, above the target of %v, because the brokers elect a controller first", f.Name, longest.Seconds(), targetOutage)
		default:
			s.t.Logf("%s: an outage of %.2f s MISSES the target of %v", f.Name, longest.Seconds(), targetOutage)
		}
		require.Less(s.t, longest, maxOutage, f.Name)
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// This test cannot run in parallel with the others that break the same cluster.
func TestEachFailureOnce(t *testing.T) {
	if *long {
		t.Skip("-chaos.long runs TestEveryFailureInRounds, which includes this test")
	}
	s := newClusterRun(t)
	s.kill(s.leader(), 8*time.Second)
	s.pause(s.leader(), 8*time.Second)
	s.killMembers(s.groups()[0])
	s.allDown(5 * time.Second)
	s.verify()
}

func TestEveryFailureInRounds(t *testing.T) {
	if !*long {
		t.Skip("a round takes five to ten minutes: use -chaos.long")
	}
	s := newClusterRun(t)
	for round := range *rounds {
		t.Logf("round %d of %d", round+1, *rounds)
		for _, node := range []int32{1, 2, 3} {
			s.kill(node, 15*time.Second)
		}
		for _, node := range []int32{1, 2, 3} {
			s.roll(node, time.Second)
		}
		for _, node := range []int32{1, 2, 3} {
			s.pause(node, 15*time.Second)
		}
		s.killMembers(s.groups()...)
	}
	s.verify()
}

func TestAllBrokersDown(t *testing.T) {
	if !*long {
		t.Skip("a round takes a minute: use -chaos.long")
	}
	s := newClusterRun(t)
	for range *rounds {
		s.allDown(30 * time.Second)
	}
	s.verify()
}
