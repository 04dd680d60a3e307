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
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/testing/chaos"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
)

const (
	pendingCalls = 1000
	callTimeout  = 30 * time.Second
	// callGrace is how late a call may end on a slow machine.
	callGrace = 3 * time.Second
)

// newCluster returns the cluster to break. It skips the test if there is none. At the end of the test it
// checks for goroutine leaks.
func newCluster(t *testing.T) (chaos.Cluster, *kafkatest.Broker) {
	dir := os.Getenv(envCluster)
	if dir == "" {
		t.Skipf("this test breaks a real cluster, but %s is not set: run eval \"$(go run ./testing/kafkatest/cluster up)\"", envCluster)
	}
	if os.Getenv(kafkatb.Env) == "" {
		t.Fatalf("%s is set, but %s is not: the cluster command prints both", envCluster, kafkatb.Env)
	}
	leaktest.Test(t)
	command := filepath.Join(t.TempDir(), "cluster")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, "github.com/trunkline/trunkline/testing/kafkatest/cluster").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return chaos.Cluster{Command: command, Dir: dir}, kafkatb.New(t, kafkatest.WithBrokers(3))
}

// body is the body of a request or a reply.
type body struct {
	N    int
	Text string
}

func (b body) reply() body { return body{b.N, "reply to " + b.Text} }

// handlers implements the method of the server. Its handlers wait until the test releases them. It records
// how often each request was executed.
type handlers struct {
	mu         sync.Mutex
	released   chan struct{}
	executions map[string]*executions // by caller and request id
	wrong      []error
	started    int // since hold
}

// executions counts the executions of one request.
type executions struct {
	started, running, replied int
}

// hold makes the handlers that start from now on wait until the test calls release.
func (h *handlers) hold() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	released := make(chan struct{})
	h.released, h.started = released, 0
	return sync.OnceFunc(func() { close(released) })
}

// handle replies when the test releases it. If its claim or deadline ends before that it does not reply, and
// the server may execute the request again.
func (h *handlers) handle(ctx context.Context, b *body) (*body, error) {
	info, ok := rpc.FromContext(ctx)
	if !ok {
		return nil, errors.New("the context has no call")
	}
	id := info.Caller + "/" + info.ID
	released := h.start(id)
	select {
	case <-released:
		h.end(id, true)
		reply := b.reply()
		return &reply, nil
	case <-ctx.Done():
		h.end(id, false)
		return nil, ctx.Err()
	}
}

func (h *handlers) start(id string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.executions[id]
	if e == nil {
		e = &executions{}
		h.executions[id] = e
	}
	switch {
	case e.running > 0:
		h.wrong = append(h.wrong, fmt.Errorf("request %s was executed twice concurrently", id))
	case e.replied > 0:
		h.wrong = append(h.wrong, fmt.Errorf("request %s was executed again after its reply", id))
	}
	e.started++
	e.running++
	h.started++
	return h.released
}

func (h *handlers) end(id string, replied bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.executions[id]
	e.running--
	if replied {
		e.replied++
	}
}

func (h *handlers) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.started
}

// summary returns the number of requests, how many of them were executed more than once, and every wrong
// execution.
func (h *handlers) summary() (requests, repeated int, wrong error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.executions {
		if e.started > 1 {
			repeated++
		}
	}
	return len(h.executions), repeated, errors.Join(h.wrong...)
}

// partitionCounts counts the requests on each partition.
type partitionCounts [partitions]atomic.Int64

// OnPublish implements [hook.Publish].
func (s *partitionCounts) OnPublish(e hook.PublishEvent) {
	if p := e.Outcome.Partition; e.Outcome.Err == nil && p >= 0 && int(p) < len(s) {
		s[p].Add(1)
	}
}

// exchange is a server and a client, each on its own bus, and the cluster between them.
type exchange struct {
	t        *testing.T
	cluster  chaos.Cluster
	brokers  chaos.Brokers
	topic    string
	handlers *handlers
	requests *partitionCounts
	server   *rpc.Server
	client   *rpc.Client
}

func newExchange(t *testing.T) *exchange {
	cluster, broker := newCluster(t)
	x := &exchange{t: t, cluster: cluster, brokers: broker.Addrs(), topic: kafkatb.Topic(t, broker, partitions),
		handlers: &handlers{executions: map[string]*executions{}}, requests: &partitionCounts{}}
	ctx := x.bounded(stepTimeout)
	require.NoError(t, x.brokers.WaitInSync(ctx))
	newBus := func(name string, opts ...bus.Option) *bus.Bus {
		b, _, err := open(broker.Addrs(), &kafkatest.Dialer{Timeout: 2 * time.Second}, logger.With("bus", name), opts)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b
	}
	var err error
	x.server, err = rpc.NewServer(newBus("server"), bus.Concurrency(pendingCalls), rpc.WithLogger(logger))
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := cleanupContext(t)
		defer cancel()
		require.NoError(t, x.server.Shutdown(ctx))
	})
	require.NoError(t, rpc.Handle(x.server, "reply", x.handlers.handle))
	require.NoError(t, x.server.Listen(x.topic))
	require.NoError(t, x.server.Ready(ctx))
	x.client, err = rpc.NewClient(newBus("client", bus.WithHooks(x.requests)), rpc.WithLogger(logger))
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

// cleanupContext returns a context for cleanups, when the test's own context has ended.
func cleanupContext(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(t.Context()), stepTimeout)
}

// result is the result of a call.
type result struct {
	took      time.Duration
	endedAt   time.Time
	code      codes.Code
	err       error
	violation error // nil if the result is allowed
}

func (x *exchange) call(ctx context.Context, n int) result {
	request := body{n, rand.Text()}
	begin := time.Now()
	got, err := rpc.Call[body](ctx, x.client, x.topic, "reply", request, rpc.Key(fmt.Sprint("key-", n)), rpc.Timeout(callTimeout))
	r := result{endedAt: time.Now(), err: err, code: rpc.CodeOf(err)}
	r.took = r.endedAt.Sub(begin)
	switch {
	case r.took > callTimeout+callGrace:
		r.violation = fmt.Errorf("call %d took %v", n, r.took)
	case err == nil && *got != request.reply():
		r.violation = fmt.Errorf("call %d with %v got the reply %v", n, request, *got)
	case err == nil || r.code == codes.Unavailable:
	case r.code != codes.DeadlineExceeded:
		r.violation = fmt.Errorf("call %d: %w", n, err)
	case r.took < callTimeout-time.Second:
		r.violation = fmt.Errorf("call %d ended %v before its deadline: %w", n, callTimeout-r.took, err)
	}
	return r
}

// calls makes n concurrent calls. The function that it returns waits for them.
func (x *exchange) calls(n int) func() []result {
	ctx := x.t.Context()
	all := make([]result, n)
	var calling sync.WaitGroup
	for i := range all {
		calling.Go(func() { all[i] = x.call(ctx, i) })
	}
	return func() []result { calling.Wait(); return all }
}

// lose kills the nodes while calls are pending, releases the handlers, and starts the nodes again: at once if
// they are all nodes of the cluster, otherwise after the calls have ended.
func (x *exchange) lose(nodes ...int32) {
	t := x.t
	t.Helper()
	release := x.handlers.hold()
	wait := x.calls(pendingCalls)
	// If the test fails, the calls and the handlers must still end.
	defer wait()
	defer release()
	require.Eventually(t, func() bool { return x.client.Stats().Pending == pendingCalls && x.handlers.waiting() >= pendingCalls },
		callTimeout/2, 10*time.Millisecond, "%d calls are pending, and their handlers wait", pendingCalls)
	down := true
	t.Cleanup(func() { // do not leave a cluster with killed nodes behind
		if down {
			ctx, cancel := cleanupContext(t)
			defer cancel()
			_ = x.cluster.Start(ctx, nodes...)
		}
	})
	require.NoError(t, x.cluster.Kill(x.bounded(stepTimeout), nodes...))
	killed := time.Now()
	release()
	all := len(nodes) == len(x.brokers)
	if all {
		require.NoError(t, x.cluster.Start(x.bounded(stepTimeout), nodes...))
		t.Logf("nodes %v answer %.2f s after they were killed", nodes, time.Since(killed).Seconds())
	}
	results := wait()
	if !all {
		require.NoError(t, x.cluster.Start(x.bounded(stepTimeout), nodes...))
	}
	down = false
	if replied := x.report(killed, results); !all { // on a slow machine, all brokers may be unavailable longer than a call waits
		require.Positive(t, replied, "some replies arrive after the loss of a leader")
	}
	require.NoError(t, x.brokers.WaitInSync(x.bounded(stepTimeout)))
	for _, r := range x.calls(partitions * 8)() {
		require.NoError(t, errors.Join(r.err, r.violation), "a new call when the nodes are available again")
	}
	require.Empty(t, x.client.Pending())
}

// report prints the figures, checks the results, and returns the number of calls that got their reply.
func (x *exchange) report(killed time.Time, results []result) (replied int) {
	t := x.t
	t.Helper()
	counts := map[codes.Code]int{}
	reasons := map[string]int{}
	var violations []error
	var longest, last time.Duration
	for _, r := range results {
		counts[r.code]++
		longest = max(longest, r.took)
		violations = append(violations, r.violation)
		if r.err == nil {
			last = max(last, r.endedAt.Sub(killed))
		} else {
			reasons[r.err.Error()]++
		}
	}
	t.Logf("%d calls: %d with a reply, %d Unavailable, %d DeadlineExceeded; the longest took %.2f s, the last reply arrived %.2f s after the kill",
		len(results), counts[codes.OK], counts[codes.Unavailable], counts[codes.DeadlineExceeded], longest.Seconds(), last.Seconds())
	for reason, n := range reasons {
		t.Logf("%d times: %s", n, reason)
	}
	requests, repeated, wrong := x.handlers.summary()
	stats := x.server.Stats()
	t.Logf("so far: %d requests executed, %d of them again after an execution without a reply; %d requests read, %d of them replayed, %d expired; %d replies failed at first",
		requests, repeated, stats.Requests, stats.Replayed, stats.Expired, stats.RepliesFailed)
	require.NoError(t, errors.Join(violations...))
	require.NoError(t, wrong)
	return counts[codes.OK]
}

// Calls that are pending when a broker is killed end in time, each with its own reply or with an error. The
// server executes no request again after it has replied. This test cannot run in parallel with the others
// that break the same cluster.
func TestPendingCallsSurviveAKilledBroker(t *testing.T) {
	x := newExchange(t)
	replies, err := x.brokers.Leaders(x.bounded(stepTimeout), x.client.ReplyTopic())
	require.NoError(t, err)
	requests, err := x.brokers.Leaders(x.bounded(stepTimeout), x.topic)
	require.NoError(t, err)
	node := replies[0]
	require.Contains(t, requests, node, "the node leads partitions of both topics")
	led := len(slices.DeleteFunc(slices.Clone(requests), func(l int32) bool { return l != node }))
	t.Logf("kill node %d, the leader of the reply topic and of %d of the %d partitions of the request topic", node, led, partitions)
	x.lose(node)
	for p := range x.requests {
		require.Positive(t, x.requests[p].Load(), "requests on partition %d", p)
	}
	t.Log("kill all nodes")
	x.lose(1, 2, 3)
}
