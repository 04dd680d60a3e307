package chaos_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/testing/chaos"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
)

const (
	pendingCalls = 1000
	callTimeout  = 30 * time.Second
	// callGrace is how late a call may end on a busy machine.
	callGrace = 3 * time.Second
)

// newCluster is the cluster to break; without one the test is skipped. When the test is
// over no goroutine may be left.
func newCluster(t *testing.T) (chaos.Cluster, *kafkatest.Broker) {
	dir := os.Getenv(envCluster)
	if dir == "" {
		t.Skipf("needs a real cluster that it may break, and %s is not set: run eval \"$(go run ./testing/kafkatest/cluster up)\"", envCluster)
	}
	if os.Getenv(kafkatb.Env) == "" {
		t.Fatalf("%s is set and %s is not: both come from the cluster command", envCluster, kafkatb.Env)
	}
	leaktest.Test(t)
	command := filepath.Join(t.TempDir(), "cluster")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, "github.com/trunkline/trunkline/testing/kafkatest/cluster").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return chaos.Cluster{Command: command, Dir: dir}, kafkatb.New(t, kafkatest.Brokers(3))
}

// question is the body of a call.
type question struct {
	N    int
	Text string
}

func (q question) answer() question { return question{q.N, "answer to " + q.Text} }

// desk is where the handlers wait until they are let go, and what they did.
type desk struct {
	mu    sync.Mutex
	letGo chan struct{}
	runs  map[string]*runs // by caller and request id
	wrong []error
	begun int // since hold
}

// runs are the executions of one request.
type runs struct {
	begun, running, answered int
}

// hold has handlers that begin from now on wait for the function that it returns.
func (d *desk) hold() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	letGo := make(chan struct{})
	d.letGo, d.begun = letGo, 0
	return sync.OnceFunc(func() { close(letGo) })
}

// handle answers when it is let go. One whose claim or deadline ends before has not
// answered: its request may rightly be run again.
func (d *desk) handle(ctx context.Context, q *question) (*question, error) {
	info, ok := rpc.FromContext(ctx)
	if !ok {
		return nil, errors.New("no call")
	}
	id := info.Caller + "/" + info.ID
	letGo := d.begin(id)
	select {
	case <-letGo:
		d.end(id, true)
		a := q.answer()
		return &a, nil
	case <-ctx.Done():
		d.end(id, false)
		return nil, ctx.Err()
	}
}

func (d *desk) begin(id string) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.runs[id]
	if r == nil {
		r = &runs{}
		d.runs[id] = r
	}
	switch {
	case r.running > 0:
		d.wrong = append(d.wrong, fmt.Errorf("request %s is run while it is running", id))
	case r.answered > 0:
		d.wrong = append(d.wrong, fmt.Errorf("request %s is run though it has been answered", id))
	}
	r.begun++
	r.running++
	d.begun++
	return d.letGo
}

func (d *desk) end(id string, answered bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.runs[id]
	r.running--
	if answered {
		r.answered++
	}
}

func (d *desk) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begun
}

// executions returns how many requests were run, and how many of them more than once.
func (d *desk) executions() (requests, again int, wrong error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.runs {
		if r.begun > 1 {
			again++
		}
	}
	return len(d.runs), again, errors.Join(d.wrong...)
}

// spread counts the requests on each partition.
type spread [partitions]atomic.Int64

// OnPublish implements [bus.PublishHook].
func (s *spread) OnPublish(e bus.PublishEvent) {
	if p := e.Outcome.Partition; e.Outcome.Err == nil && p >= 0 && int(p) < len(s) {
		s[p].Add(1)
	}
}

// exchange is a server and a client, on buses of their own, and what is between them.
type exchange struct {
	t       *testing.T
	cluster chaos.Cluster
	brokers chaos.Brokers
	topic   string
	desk    *desk
	spread  *spread
	server  *rpc.Server
	client  *rpc.Client
}

func newExchange(t *testing.T) *exchange {
	cluster, broker := newCluster(t)
	x := &exchange{t: t, cluster: cluster, brokers: broker.Addrs(), topic: kafkatb.Topic(t, broker, partitions),
		desk: &desk{runs: map[string]*runs{}}, spread: &spread{}}
	ctx := x.bounded(patience)
	require.NoError(t, x.brokers.InSync(ctx))
	newBus := func(name string, opts ...bus.Option) *bus.Bus {
		b, _, err := open(broker.Addrs(), &kafkatest.Dialer{Timeout: 2 * time.Second}, logger.With("bus", name), opts)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b
	}
	var err error
	x.server, err = rpc.NewServer(newBus("server"), rpc.Concurrency(pendingCalls), rpc.WithLogger(logger))
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := afterwards(t)
		defer cancel()
		require.NoError(t, x.server.Shutdown(ctx))
	})
	require.NoError(t, rpc.Handle(x.server, "answer", x.desk.handle))
	_, err = x.server.Start(ctx, x.topic)
	require.NoError(t, err)
	require.NoError(t, x.server.Ready(ctx))
	x.client, err = rpc.NewClient(newBus("client", bus.WithHooks(x.spread)), rpc.WithLogger(logger))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.client.Close()) })
	require.NoError(t, x.client.Ready(ctx))
	return x
}

func (x *exchange) bounded(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(x.t.Context(), d)
	x.t.Cleanup(cancel)
	return ctx
}

// afterwards is for cleaning up, when the test's own context has ended.
func afterwards(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(t.Context()), patience)
}

// result is what became of a call.
type result struct {
	took time.Duration
	at   time.Time // it ended
	code codes.Code
	err  error
	lie  error // what must not be; nil for nothing
}

func (x *exchange) call(ctx context.Context, n int) result {
	q := question{n, rand.Text()}
	begun := time.Now()
	got, err := rpc.Call[question](ctx, x.client, x.topic, "answer", q, rpc.Key(fmt.Sprint("key-", n)), rpc.Timeout(callTimeout))
	r := result{at: time.Now(), err: err, code: rpc.CodeOf(err)}
	r.took = r.at.Sub(begun)
	switch {
	case r.took > callTimeout+callGrace:
		r.lie = fmt.Errorf("call %d took %v", n, r.took)
	case err == nil && *got != q.answer():
		r.lie = fmt.Errorf("call %d, %v, was answered with %v", n, q, *got)
	case err == nil || r.code == codes.Unavailable:
	case r.code != codes.DeadlineExceeded:
		r.lie = fmt.Errorf("call %d: %w", n, err)
	case r.took < callTimeout-time.Second:
		r.lie = fmt.Errorf("call %d ended %v before its deadline: %w", n, callTimeout-r.took, err)
	}
	return r
}

// calls makes n calls at once; the function that it returns waits for them.
func (x *exchange) calls(n int) func() []result {
	ctx := x.t.Context()
	all := make([]result, n)
	var calling sync.WaitGroup
	for i := range all {
		calling.Go(func() { all[i] = x.call(ctx, i) })
	}
	return func() []result { calling.Wait(); return all }
}

// lose kills the nodes while calls are pending, lets the handlers go, and starts the
// nodes again: at once if they are all there is, otherwise when the calls are over.
func (x *exchange) lose(nodes ...int32) {
	t := x.t
	t.Helper()
	release := x.desk.hold()
	ended := x.calls(pendingCalls)
	// Whatever fails, no call and no handler outlives the test.
	defer ended()
	defer release()
	require.Eventually(t, func() bool { return x.client.Stats().Pending == pendingCalls && x.desk.waiting() >= pendingCalls },
		callTimeout/2, 10*time.Millisecond, "%d calls are pending, and with handlers", pendingCalls)
	down := true
	t.Cleanup(func() { // a cluster without all its nodes would be of no use to anyone
		if down {
			ctx, cancel := afterwards(t)
			defer cancel()
			_ = x.cluster.Start(ctx, nodes...)
		}
	})
	require.NoError(t, x.cluster.Kill(x.bounded(patience), nodes...))
	killed := time.Now()
	release()
	everything := len(nodes) == len(x.brokers)
	if everything {
		require.NoError(t, x.cluster.Start(x.bounded(patience), nodes...))
		t.Logf("nodes %v answer %.2f s after they were killed", nodes, time.Since(killed).Seconds())
	}
	results := ended()
	if !everything {
		require.NoError(t, x.cluster.Start(x.bounded(patience), nodes...))
	}
	down = false
	if replied := x.report(killed, results); !everything { // a slow machine's brokers may all be away for longer than a call waits
		require.Positive(t, replied, "what is answered after a leader's loss comes through")
	}
	require.NoError(t, x.brokers.InSync(x.bounded(patience)))
	for _, r := range x.calls(partitions * 8)() {
		require.NoError(t, errors.Join(r.err, r.lie), "a new call when the nodes are back")
	}
	require.Empty(t, x.client.Pending())
}

// report prints the figures, holds the calls against the rules, and returns how many
// got their reply.
func (x *exchange) report(killed time.Time, results []result) (replied int) {
	t := x.t
	t.Helper()
	counts := map[codes.Code]int{}
	reasons := map[string]int{}
	var lies []error
	var longest, last time.Duration
	for _, r := range results {
		counts[r.code]++
		longest = max(longest, r.took)
		lies = append(lies, r.lie)
		if r.err == nil {
			last = max(last, r.at.Sub(killed))
		} else {
			reasons[r.err.Error()]++
		}
	}
	t.Logf("%d calls: %d replied, %d Unavailable, %d DeadlineExceeded; the longest took %.2f s, the last reply came %.2f s after the kill",
		len(results), counts[codes.OK], counts[codes.Unavailable], counts[codes.DeadlineExceeded], longest.Seconds(), last.Seconds())
	for reason, n := range reasons {
		t.Logf("%d times: %s", n, reason)
	}
	requests, again, wrong := x.desk.executions()
	stats := x.server.Stats()
	t.Logf("so far: %d requests run, %d of them again after the first run was given up; read %d times, %d of them replayed, %d past their deadline; %d replies not published at first",
		requests, again, stats.Requests, stats.Replayed, stats.Expired, stats.RepliesFailed)
	require.NoError(t, errors.Join(lies...))
	require.NoError(t, wrong)
	return counts[codes.OK]
}

// Calls that wait for handlers when a broker is killed end in time, each with its own
// reply or an error that says why not, and none is run again once it has been answered.
// Not parallel, like everything here that breaks the one cluster there is.
func TestCallsPendingAtAKill(t *testing.T) {
	x := newExchange(t)
	replies, err := x.brokers.Leaders(x.bounded(patience), x.client.ReplyTopic())
	require.NoError(t, err)
	requests, err := x.brokers.Leaders(x.bounded(patience), x.topic)
	require.NoError(t, err)
	node := replies[0]
	require.Contains(t, requests, node, "it leads partitions of both topics")
	led := len(slices.DeleteFunc(slices.Clone(requests), func(l int32) bool { return l != node }))
	t.Logf("kill node %d, leader of the replies and of %d of %d partitions of requests", node, led, partitions)
	x.lose(node)
	for p := range x.spread {
		require.Positive(t, x.spread[p].Load(), "requests on partition %d", p)
	}
	t.Log("kill all nodes")
	x.lose(1, 2, 3)
}
