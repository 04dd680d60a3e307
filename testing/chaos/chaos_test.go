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
	long   = flag.Bool("chaos.long", false, "break everything, in rounds, instead of each thing once")
	rounds = flag.Int("chaos.rounds", 1, "with -chaos.long: how many rounds")
)

// envCluster names the folder of the cluster to break; the cluster command prints it.
const envCluster = "TRUNKLINE_KAFKA_CLUSTER"

const (
	partitions = 8
	// target is the broker's session time-out and two seconds: what a leader's loss may
	// cost. It is printed; what is asserted leaves room for a busy machine.
	target   = 5 * time.Second
	asserted = 6 * target
	// patience bounds each step, and the wait for what is still to be delivered.
	patience = 3 * time.Minute
)

// scene is a cluster with a load on it.
type scene struct {
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
	controller bool // it was the active controller, too
}

func newScene(t *testing.T) *scene {
	dir := os.Getenv(envCluster)
	if dir == "" {
		t.Skipf("needs a real cluster that it may break, and %s is not set: run eval \"$(go run ./testing/kafkatest/cluster up)\"", envCluster)
	}
	if os.Getenv(kafkatb.Env) == "" {
		t.Fatalf("%s is set and %s is not: both come from the cluster command", envCluster, kafkatb.Env)
	}
	leaktest.Test(t)
	broker := kafkatb.New(t, kafkatest.Brokers(3))
	command := filepath.Join(t.TempDir(), "cluster")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, "github.com/trunkline/trunkline/testing/kafkatest/cluster").CombinedOutput()
	require.NoError(t, err, "%s", out)
	s := &scene{t: t, cluster: chaos.Cluster{Command: command, Dir: dir}, brokers: broker.Addrs(), topic: kafkatb.Topic(t, broker, partitions)}
	ctx := s.bounded()
	require.NoError(t, s.brokers.InSync(ctx))
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

// open makes a bus with the transport's default options, but for a dialer that can be cut.
func open(addrs []string, d *kafkatest.Dialer, logger *slog.Logger, opts []bus.Option, own ...kafka.Option) (*bus.Bus, func(), error) {
	t, err := kafka.New(addrs, append(own, kafka.WithDialer(d.DialContext), kafka.WithLogger(logger))...)
	if err != nil {
		return nil, nil, err
	}
	b, err := bus.New(t, append(opts, bus.WithLogger(logger))...)
	return b, d.Cut, err
}

func (s *scene) bounded() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *scene) step(name string, f func(context.Context, func(string)) error) {
	s.t.Helper()
	s.t.Log(name)
	require.NoError(s.t, s.Step(s.bounded(), name, f))
}

// leader returns a node that leads partitions of the topic and is not the active
// controller: rounds get to that one, too.
func (s *scene) leader() int32 {
	s.t.Helper()
	leaders, err := s.brokers.Leaders(s.bounded(), s.topic)
	require.NoError(s.t, err)
	controller, err := s.brokers.Controller(s.bounded())
	require.NoError(s.t, err)
	i := slices.IndexFunc(leaders, func(l int32) bool { return l >= 0 && l != controller })
	require.GreaterOrEqual(s.t, i, 0, "leaders %v, controller %d", leaders, controller)
	return leaders[i]
}

// lose makes a leader go away for a while, and come back.
func (s *scene) lose(node int32, verb string, lose func(context.Context, ...int32) error, back string, restore func(context.Context, ...int32) error, away time.Duration) {
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
		return rest(ctx, away)
	})
	s.step(fmt.Sprintf("%s node %d", back, node), func(ctx context.Context, mark func(string)) error {
		return s.restored(ctx, mark, restore, node)
	})
	s.balance()
}

func (s *scene) restored(ctx context.Context, mark func(string), restore func(context.Context, ...int32) error, nodes ...int32) error {
	if err := restore(ctx, nodes...); err != nil {
		return err
	}
	mark("answering")
	if err := s.brokers.InSync(ctx); err != nil {
		return err
	}
	mark("in sync")
	return nil
}

func (s *scene) balance() {
	s.t.Helper()
	s.step("preferred leaders back", func(ctx context.Context, _ func(string)) error { return s.brokers.Balance(ctx, s.topic) })
}

func (s *scene) kill(node int32, away time.Duration) {
	s.t.Helper()
	s.lose(node, "kill", s.cluster.Kill, "restart", s.cluster.Start, away)
}

func (s *scene) roll(node int32, away time.Duration) {
	s.t.Helper()
	s.lose(node, "stop", s.cluster.Stop, "restart", s.cluster.Start, away)
}

func (s *scene) pause(node int32, away time.Duration) {
	s.t.Helper()
	resumed := false
	s.t.Cleanup(func() { // a broker left paused would be of no use to anyone
		if !resumed {
			_ = s.cluster.Resume(context.WithoutCancel(s.t.Context()), node)
		}
	})
	s.lose(node, "pause", s.cluster.Pause, "resume", s.cluster.Resume, away)
	resumed = true
}

func (s *scene) killMembers(groups ...string) {
	s.t.Helper()
	for _, g := range groups {
		s.step("kill a member of "+g[len(s.topic):], func(ctx context.Context, _ func(string)) error {
			if err := s.KillMember(g); err != nil {
				return err
			}
			return rest(ctx, time.Second) // what it has already it may still handle
		})
	}
}

func (s *scene) allDown(away time.Duration) {
	s.t.Helper()
	s.step(fmt.Sprintf("all brokers down for %v", away), func(ctx context.Context, mark func(string)) error {
		if err := s.cluster.Kill(ctx, 1, 2, 3); err != nil {
			return err
		}
		if err := rest(ctx, away); err != nil {
			return err
		}
		mark("restarted")
		return s.restored(ctx, mark, s.cluster.Start, 1, 2, 3)
	})
	s.balance()
}

func (s *scene) groups() []string { return []string{s.topic + "-a", s.topic + "-b"} }

// verify stops the load, prints the figures and holds the history against the rules.
func (s *scene) verify() {
	s.t.Helper()
	history, err := s.Stop(s.bounded())
	report := chaos.Report(history, partitions, s.groups()...)
	for _, f := range report {
		s.t.Log(f)
	}
	s.t.Logf("\n%v", chaos.Count(history, s.groups()...))
	for reason, n := range history.Reasons {
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
	for group, positions := range history.Positions {
		require.Equal(s.t, ends, positions, "what %s has handled is committed when it has been closed", group)
	}
	for _, f := range report {
		i := slices.IndexFunc(s.losses, func(l loss) bool { return l.step == f.Name })
		if i < 0 {
			continue
		}
		publishing, delivery := f.Longest()
		longest := max(publishing, delivery)
		switch {
		case longest <= target:
			s.t.Logf("%s: %.2f s of silence, within the target of %v", f.Name, longest.Seconds(), target)
		case s.losses[i].controller:
			s.t.Logf("%s: %.2f s of silence, over the target of %v: the brokers elect a controller first", f.Name, longest.Seconds(), target)
		default:
			s.t.Logf("%s: %.2f s of silence MISSES the target of %v", f.Name, longest.Seconds(), target)
		}
		require.Less(s.t, longest, asserted, f.Name)
	}
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Not parallel, like everything here that breaks the one cluster there is.
func TestEachThingOnce(t *testing.T) {
	if *long {
		t.Skip("-chaos.long runs TestRounds, which does this and more")
	}
	s := newScene(t)
	s.kill(s.leader(), 8*time.Second)
	s.pause(s.leader(), 8*time.Second)
	s.killMembers(s.groups()[0])
	s.allDown(5 * time.Second)
	s.verify()
}

func TestRounds(t *testing.T) {
	if !*long {
		t.Skip("takes five to ten minutes a round: run it with -chaos.long")
	}
	s := newScene(t)
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
		t.Skip("takes a minute a round: run it with -chaos.long")
	}
	s := newScene(t)
	for range *rounds {
		s.allDown(30 * time.Second)
	}
	s.verify()
}
