package liveness_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
)

// checked is a transport with brokers to check.
type checked struct {
	*fake
	mu     sync.Mutex
	checks int
	spec   driver.CheckSpec
	found  func(context.Context) driver.Health
}

func (c *checked) Check(ctx context.Context, spec driver.CheckSpec) driver.Health {
	c.mu.Lock()
	c.checks++
	c.spec = spec
	found := c.found
	c.mu.Unlock()
	return found(ctx)
}

func (c *checked) find(h driver.Health) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = func(context.Context) driver.Health { return h }
}

func (c *checked) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.checks
}

var (
	allWell = driver.Health{Brokers: []driver.BrokerHealth{
		{ID: 1, Addr: "a:1", Latency: 2 * time.Millisecond}, {ID: 2, Addr: "b:1"}, {ID: 3, Addr: "c:1"}},
		Topics: []driver.TopicHealth{{Name: "orders", Partitions: []driver.PartitionInfo{{ID: 0, Leader: 1, Replicas: []int32{1, 2, 3}, InSync: []int32{1, 2, 3}}}}}}
	oneDown = driver.Health{Warning: "broker c:1 does not answer", Brokers: []driver.BrokerHealth{
		{ID: 1, Addr: "a:1"}, {ID: 2, Addr: "b:1"}, {ID: 3, Addr: "c:1", Err: errGone}},
		Topics: []driver.TopicHealth{{Name: "orders", Warning: "partition 0 has 2 of 3 replicas in sync",
			Partitions: []driver.PartitionInfo{{ID: 0, Leader: 1, Replicas: []int32{1, 2, 3}, InSync: []int32{1, 2}}}}}}
	tooFew = driver.Health{Err: &bus.Error{Code: bus.CodeUnavailable, Op: "check", Reason: "1 of 3 brokers answer, need 2"},
		Brokers: []driver.BrokerHealth{{ID: 1, Addr: "a:1"}, {ID: 2, Err: errGone}, {ID: 3, Err: errGone}}}
)

func newChecker(t *testing.T, transport driver.Transport, spec liveness.CheckSpec, opts ...liveness.CheckerOption) (*liveness.Checker, *probe.Registry, *bus.Bus) {
	t.Helper()
	b, err := bus.New(transport)
	require.NoError(t, err)
	reg := probe.New()
	c, err := liveness.NewChecker(b, reg, spec, opts...)
	require.NoError(t, err)
	return c, reg, b
}

// run runs the checker, and returns its result once it has ended.
func run(t *testing.T, c *liveness.Checker) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(context.Background()) }()
	return ended
}

func serviceOf(t *testing.T, reg *probe.Registry, name string) probe.Service {
	t.Helper()
	s, ok := reg.Snapshot().Service(name)
	require.True(t, ok)
	return s
}

func TestCheckerReportsToTheRegistry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &checked{fake: newFake()}
		transport.find(allWell)
		spec := driver.CheckSpec{Topics: []string{"orders"}, MinBrokers: 2}
		c, reg, b := newChecker(t, transport, spec)
		require.Equal(t, probe.Preparing, serviceOf(t, reg, c.ServiceName()).Status)
		running := run(t, c)
		synctest.Wait()
		require.Equal(t, 1, transport.count(), "it checks at once")
		require.Equal(t, spec, transport.spec)
		require.Equal(t, probe.Running, serviceOf(t, reg, c.ServiceName()).Status)
		require.NoError(t, serviceOf(t, reg, c.ServiceName()).Cause)

		transport.find(oneDown)
		time.Sleep(liveness.DefaultCheckInterval)
		synctest.Wait()
		s := serviceOf(t, reg, c.ServiceName())
		require.Equal(t, probe.Running, s.Status, "a warning does not make the service not ready")
		require.EqualError(t, s.Cause, "warning: broker c:1 does not answer")

		transport.find(tooFew)
		time.Sleep(liveness.DefaultCheckInterval)
		synctest.Wait()
		s = serviceOf(t, reg, c.ServiceName())
		require.Equal(t, probe.NotReady, s.Status)
		require.ErrorContains(t, s.Cause, "1 of 3 brokers answer, need 2")
		require.False(t, reg.Ready())
		require.True(t, reg.Healthy(), "lost brokers must not restart the process")

		transport.find(allWell)
		time.Sleep(liveness.DefaultCheckRetry)
		synctest.Wait()
		require.True(t, reg.Ready(), "a failed check is repeated sooner")
		require.Equal(t, 4, transport.count())

		require.NoError(t, c.Close())
		require.NoError(t, <-running)
		require.Equal(t, probe.Stopped, serviceOf(t, reg, c.ServiceName()).Status)
		require.NoError(t, c.Close())
		require.Equal(t, bus.CodeClosed, bus.CodeOf(c.Run(t.Context())))
		require.NoError(t, b.Close())
	})
}

func TestDetailzShowsTheLastCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &checked{fake: newFake()}
		transport.find(oneDown)
		c, reg, b := newChecker(t, transport, driver.CheckSpec{Topics: []string{"orders"}}, liveness.WithServiceName("kafka"))
		running := run(t, c)
		synctest.Wait()
		w := httptest.NewRecorder()
		probe.Handler(reg).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/detailz", nil))
		var page map[string]struct {
			Status, Cause string
			Details       struct {
				Passed  bool
				Warning string
				Brokers []struct {
					ID      int
					Addr    string
					Healthy bool
					Error   string
				}
				Topics []struct {
					Name, Warning    string
					Partitions       int
					UnderReplicated  int `json:"under_replicated"`
					LeaderlessNumber int `json:"leaderless"`
				}
			}
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page), w.Body.String())
		kafka := page["kafka"]
		require.Equal(t, "Running", kafka.Status)
		require.True(t, kafka.Details.Passed)
		require.Equal(t, "broker c:1 does not answer", kafka.Details.Warning)
		require.Len(t, kafka.Details.Brokers, 3)
		require.True(t, kafka.Details.Brokers[0].Healthy)
		require.Equal(t, "a:1", kafka.Details.Brokers[0].Addr)
		require.False(t, kafka.Details.Brokers[2].Healthy)
		require.Contains(t, kafka.Details.Brokers[2].Error, "connection refused")
		require.Len(t, kafka.Details.Topics, 1)
		require.Equal(t, "partition 0 has 2 of 3 replicas in sync", kafka.Details.Topics[0].Warning)
		require.Equal(t, 1, kafka.Details.Topics[0].UnderReplicated)
		require.NoError(t, c.Close())
		require.NoError(t, <-running)
		require.NoError(t, b.Close())
	})
}

func TestCheckerOfATransportWithoutBrokersIsRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, reg, b := newChecker(t, newFake(), driver.CheckSpec{MinBrokers: 2})
		running := run(t, c)
		synctest.Wait()
		s := serviceOf(t, reg, c.ServiceName())
		require.Equal(t, probe.Running, s.Status, "the same program runs on a transport without brokers")
		require.Equal(t, bus.CodeUnsupported, bus.CodeOf(s.Cause))
		require.NoError(t, b.Close())
		time.Sleep(liveness.DefaultCheckInterval)
		<-c.Done()
		require.NoError(t, <-running)
		require.Equal(t, probe.Stopped, serviceOf(t, reg, c.ServiceName()).Status, "it ends with the bus")
	})
}

func TestCheckIntervalBoundsTheRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &checked{fake: newFake()}
		transport.find(tooFew)
		c, _, b := newChecker(t, transport, liveness.CheckSpec{}, liveness.WithCheckInterval(time.Second), liveness.WithCheckRetry(time.Hour))
		running := run(t, c)
		time.Sleep(10*time.Second + time.Millisecond)
		require.Equal(t, 11, transport.count())
		require.NoError(t, c.Close())
		require.NoError(t, <-running)
		require.NoError(t, b.Close())
	})
}

func TestCheckThatHangsIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &checked{fake: newFake(), found: func(ctx context.Context) driver.Health {
			<-ctx.Done()
			return tooFew
		}}
		c, reg, b := newChecker(t, transport, driver.CheckSpec{BrokerTimeout: 100 * time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- c.Run(ctx) }()
		time.Sleep(250*time.Millisecond + time.Nanosecond)
		synctest.Wait()
		require.Equal(t, probe.NotReady, serviceOf(t, reg, c.ServiceName()).Status)
		last, ok := c.Last()
		require.True(t, ok)
		require.Equal(t, 250*time.Millisecond, last.Duration)
		cancel()
		require.NoError(t, <-ran)
		require.Equal(t, bus.CodeAlreadyExists, bus.CodeOf(c.Run(t.Context())))
		require.NoError(t, c.Close())
		require.NoError(t, b.Close())
	})
}

func TestCheckerRejectsInvalidArguments(t *testing.T) {
	t.Parallel()
	b, err := bus.New(newFake())
	require.NoError(t, err)
	reg := probe.New()
	for name, make := range map[string]func() (*liveness.Checker, error){
		"no bus":      func() (*liveness.Checker, error) { return liveness.NewChecker(nil, reg, driver.CheckSpec{}) },
		"no registry": func() (*liveness.Checker, error) { return liveness.NewChecker(b, nil, driver.CheckSpec{}) },
		"negative bound": func() (*liveness.Checker, error) {
			return liveness.NewChecker(b, reg, driver.CheckSpec{MinBrokers: -1})
		},
		"no name": func() (*liveness.Checker, error) {
			return liveness.NewChecker(b, reg, driver.CheckSpec{}, liveness.WithServiceName(""))
		},
		"no interval": func() (*liveness.Checker, error) {
			return liveness.NewChecker(b, reg, driver.CheckSpec{}, liveness.WithCheckInterval(0))
		},
		"no retry": func() (*liveness.Checker, error) {
			return liveness.NewChecker(b, reg, driver.CheckSpec{}, liveness.WithCheckRetry(-1))
		},
	} {
		_, err := make()
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), name)
	}
	require.Empty(t, reg.Snapshot().Services)
	require.NoError(t, b.Close())
}
