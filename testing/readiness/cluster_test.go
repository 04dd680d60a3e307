package readiness_test

import (
	"context"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/testing/chaos"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
)

var (
	long    = flag.Bool("readiness.long", false, "10 minutes of full load instead of one")
	verbose = flag.Bool("readiness.history", false, "print every state of every bus")
	rounds  = flag.Int("readiness.rounds", 3, "how often to do each thing")
)

// envCluster names the folder of the cluster that the test breaks. The cluster command
// prints it.
const envCluster = "TRUNKLINE_KAFKA_CLUSTER"

// waitTimeout bounds each wait.
const waitTimeout = 2 * time.Minute

// The targets; see the package comment.
const (
	hardTarget   = 1500 * time.Millisecond
	silentTarget = 3 * time.Second
	backTarget   = 2 * time.Second
)

var nodes = []int32{1, 2, 3}

// scene is a cluster, the buses that use it, and the servers of their registry.
type scene struct {
	t        *testing.T
	cluster  chaos.Cluster
	brokers  chaos.Brokers
	topic    string
	subjects []*subject
	servers  *servers
	figures  figures

	// checker has a registry of its own, so that it does not change what is measured.
	checker *liveness.Checker
	checks  *probe.Registry

	caused int               // how often the test made the brokers or the network unavailable
	before map[string]uint64 // the losses of each subject at the start of the test
}

func newScene(t *testing.T) *scene {
	dir := os.Getenv(envCluster)
	if dir == "" {
		t.Skipf("needs a real cluster that it may break, and %s is not set: run eval \"$(go run ./testing/kafkatest/cluster up)\"", envCluster)
	}
	leaktest.Test(t)
	broker := kafkatb.New(t, kafkatest.WithBrokers(len(nodes)))
	command := filepath.Join(t.TempDir(), "cluster")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, "github.com/trunkline/trunkline/testing/kafkatest/cluster").CombinedOutput()
	require.NoError(t, err, "%s", out)
	reg := probe.New()
	s := &scene{t: t, cluster: chaos.Cluster{Command: command, Dir: dir}, brokers: broker.Addrs(), topic: kafkatb.Topic(t, broker, 6)}
	require.NoError(t, s.brokers.WaitInSync(s.bounded()))

	s.checks = probe.New()
	busy, idle := newSubject(t, reg, "busy", broker.Addrs()), newSubject(t, reg, "idle", broker.Addrs())
	s.subjects = []*subject{busy, idle}
	s.check(idle.bus)
	s.servers = serve(t, reg)
	s.servers.ignore(t.Context(), t)
	busy.read(s.topic, kafkatb.Name(t))
	working, stop := context.WithCancel(t.Context())
	wait := busy.publish(working, s.topic, 2, 4, 20*time.Millisecond)
	t.Cleanup(func() {
		stop()
		wait()
	})
	require.NoError(t, reg.WaitReady(s.bounded()))
	s.before = map[string]uint64{busy.name: busy.losses(), idle.name: idle.losses()}
	return s
}

// check checks the three brokers and the topic all the time. At least two brokers must answer.
func (s *scene) check(b *bus.Bus) {
	var err error
	s.checker, err = liveness.AttachChecker(b, s.checks, liveness.CheckSpec{Topics: []string{s.topic}, MinBrokers: 2, MinInSync: 2}, liveness.WithCheckInterval(500*time.Millisecond))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { assert.NoError(s.t, s.checker.Close()) })
}

// health is the result of a check.
type health string

const (
	passed  health = "passed"
	warning health = "passed with a warning"
	failed  health = "failed"
)

func healthOf(c liveness.Check) health {
	switch {
	case c.Err != nil:
		return failed
	case c.Warning != "":
		return warning
	default:
		return passed
	}
}

// checked waits until the check has this result, and the registry has it too.
func (s *scene) checked(t *testing.T, want health, status probe.Status) {
	t.Helper()
	for snap := range s.checks.Watch(s.bounded()) {
		last, ok := s.checker.Last()
		service, found := snap.Service(s.checker.ServiceName())
		if ok && found && healthOf(last) == want && service.Status == status {
			t.Logf("check: %s, %s: %v", want, service.Status, service.Cause)
			return
		}
	}
	last, _ := s.checker.Last()
	t.Errorf("the check never had the result %q: error %v, warning %q", want, last.Err, last.Warning)
}

func (s *scene) bounded() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), waitTimeout)
	s.t.Cleanup(cancel)
	return ctx
}

// settled waits until everything is in the same state as at the start, and then for another
// second. Otherwise some changes of the next round would be too short to be observed.
func (s *scene) settled(t *testing.T) {
	t.Helper()
	require.NoError(t, s.brokers.WaitInSync(s.bounded()))
	require.NoError(t, s.servers.reg.WaitReady(s.bounded()))
	pause(t.Context(), time.Second)
}

// measure waits until every subject is ready, or not ready, and adds the time since from to
// the figures.
func (s *scene) measure(t *testing.T, what string, ready bool, after, from time.Time, target time.Duration) {
	t.Helper()
	if !ready {
		s.caused++
	}
	for _, x := range s.subjects {
		at, err := x.await(ready, after)
		require.NoError(t, err)
		took := at.Sub(from)
		t.Logf("%s, %s: %.3f s", what, x.name, took.Seconds())
		s.figures.add(what+", "+x.name, target, took)
	}
}

// stays runs f. Every subject must stay ready while f runs.
func (s *scene) stays(t *testing.T, what string, f func()) {
	t.Helper()
	began := time.Now()
	before := make([]uint64, len(s.subjects))
	for i, x := range s.subjects {
		before[i] = x.losses()
	}
	f()
	for i, x := range s.subjects {
		lost := x.losses() - before[i]
		for _, line := range x.since(began) {
			t.Log(line)
		}
		t.Logf("%s, %s: not ready %d times in %.0f s", what, x.name, lost, time.Since(began).Seconds())
		if lost > 0 {
			t.Errorf("%s: %s became not ready", what, x.name)
		}
	}
}

// watchDeaths connects to every broker. It returns a function that waits until all of these
// connections are broken, and returns the time of the last one.
func (s *scene) watchDeaths(t *testing.T) func() time.Time {
	t.Helper()
	var mu sync.Mutex
	var last time.Time
	var reading sync.WaitGroup
	for _, addr := range s.brokers {
		conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
		require.NoError(t, err)
		reading.Go(func() {
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 1)) // returns when the connection ends
			mu.Lock()
			defer mu.Unlock()
			last = time.Now()
		})
	}
	return func() time.Time {
		reading.Wait()
		return last
	}
}

// firstProduce returns the time at which all in-sync replicas have first acknowledged a
// record of an independent client.
func (s *scene) firstProduce(ctx context.Context) (time.Time, error) {
	conf := sarama.NewConfig()
	conf.ClientID = "independent"
	conf.Version = sarama.V2_8_0_0
	conf.Producer.RequiredAcks = sarama.WaitForAll
	conf.Producer.Return.Successes = true
	conf.Producer.Retry.Max = 0
	conf.Metadata.Retry.Max = 0
	conf.Net.DialTimeout, conf.Net.ReadTimeout, conf.Net.WriteTimeout = time.Second, 2*time.Second, time.Second
	conf.Producer.Timeout = time.Second
	produce := func() error {
		producer, err := sarama.NewSyncProducer(s.brokers, conf)
		if err != nil {
			return err
		}
		defer producer.Close()
		_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: s.topic, Value: sarama.StringEncoder("independent")})
		return err
	}
	for {
		err := produce()
		if err == nil {
			return time.Now(), nil
		}
		if ctx.Err() != nil {
			return time.Time{}, err
		}
		pause(ctx, 25*time.Millisecond)
	}
}

// Not parallel, because the test breaks the only cluster.
func TestReadinessOnACluster(t *testing.T) {
	s := newScene(t)
	t.Run("network resets", s.networkResets)
	t.Run("network drops bytes", s.networkDropsBytes)
	t.Run("full load", s.fullLoad)
	t.Run("all paused", s.allPaused)
	t.Run("one killed", s.oneKilled)
	t.Run("all killed", s.allKilled)
	s.servers.follows(t, &s.figures)
	for _, x := range s.subjects {
		t.Logf("%s became not ready %d times, %d of them caused by the test", x.name, x.losses()-s.before[x.name], s.caused)
		if *verbose {
			for _, line := range x.since(time.Time{}) {
				t.Log(line)
			}
		}
	}
	s.figures.report(t)
}

func (s *scene) networkResets(t *testing.T) {
	for range *rounds {
		began := time.Now()
		for _, x := range s.subjects {
			x.dialer.Cut()
		}
		s.measure(t, "network resets connections: not ready", false, began, began, hardTarget)
		back := time.Now()
		for _, x := range s.subjects {
			x.dialer.Restore()
		}
		s.measure(t, "network resets no more connections: ready", true, back, back, backTarget)
		s.settled(t)
	}
}

func (s *scene) networkDropsBytes(t *testing.T) {
	for range *rounds {
		began := time.Now()
		for _, x := range s.subjects {
			x.dialer.Stall()
		}
		s.measure(t, "network drops bytes: not ready", false, began, began, silentTarget)
		back := time.Now()
		for _, x := range s.subjects {
			x.dialer.Restore()
		}
		s.measure(t, "network drops no more bytes: ready", true, back, back, backTarget)
		s.settled(t)
	}
}

func (s *scene) allPaused(t *testing.T) {
	for range *rounds {
		s.settled(t)
		paused := true
		t.Cleanup(func() { // do not leave paused brokers behind
			if paused {
				_ = s.cluster.Resume(context.WithoutCancel(t.Context()), nodes...)
			}
		})
		began := time.Now()
		require.NoError(t, s.cluster.Pause(s.bounded(), nodes...))
		s.measure(t, "all brokers paused: not ready", false, began, began, silentTarget)
		back := time.Now() // it may be ready before the command has ended
		require.NoError(t, s.cluster.Resume(s.bounded(), nodes...))
		paused = false
		first, err := s.firstProduce(s.bounded())
		require.NoError(t, err)
		s.measure(t, "all brokers resumed: ready after a produce", true, back, first, backTarget)
	}
	s.settled(t)
}

func (s *scene) oneKilled(t *testing.T) {
	for round := range *rounds {
		node := nodes[round%len(nodes)]
		s.settled(t)
		s.stays(t, "one of three killed, and back", func() {
			require.NoError(t, s.cluster.Kill(s.bounded(), node))
			killed := time.Now()
			s.checked(t, warning, probe.Running)
			pause(t.Context(), 6*time.Second-time.Since(killed))
			require.NoError(t, s.cluster.Start(s.bounded(), node))
			require.NoError(t, s.brokers.WaitInSync(s.bounded()))
			s.checked(t, passed, probe.Running)
		})
	}
}

func (s *scene) allKilled(t *testing.T) {
	for range *rounds {
		s.settled(t)
		dead := s.watchDeaths(t)
		began := time.Now()
		require.NoError(t, s.cluster.Kill(s.bounded(), nodes...))
		s.measure(t, "all brokers killed: not ready", false, began, dead(), hardTarget)
		s.checked(t, failed, probe.NotReady)

		back := time.Now()
		produced := make(chan time.Time, 1)
		ctx := s.bounded()
		var producing sync.WaitGroup
		producing.Go(func() {
			if at, err := s.firstProduce(ctx); err == nil {
				produced <- at
			} else {
				close(produced)
			}
		})
		require.NoError(t, s.cluster.Start(s.bounded(), nodes...))
		first, ok := <-produced
		producing.Wait()
		require.True(t, ok, "no record could be produced")
		s.measure(t, "all brokers back: ready after a produce", true, back, first, backTarget)
	}
	s.settled(t)
	s.checked(t, passed, probe.Running)
}

// fullLoad keeps every core busy, in addition to the brokers and the publishing.
func (s *scene) fullLoad(t *testing.T) {
	s.settled(t)
	lasts := time.Minute
	if *long {
		lasts = 10 * time.Minute
	}
	s.stays(t, "all cores busy", func() {
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		published := s.subjects[0].publish(ctx, s.topic, 32, 20, 0)
		var spinning sync.WaitGroup
		for range runtime.NumCPU() {
			spinning.Go(func() {
				for x := uint64(1); ctx.Err() == nil; {
					for range 1 << 16 {
						x = x*6364136223846793005 + 1442695040888963407
					}
					runtime.KeepAlive(x)
				}
			})
		}
		spinning.Wait()
		published()
	})
}
