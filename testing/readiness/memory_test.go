package readiness_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/liveness/probe/grpcprobe"
	"github.com/trunkline/trunkline/transport/memory"
)

// broker is the in-memory transport with a broker that can become silent, with its
// connections open, and that can be slow.
type broker struct {
	*memory.Transport
	mu     sync.Mutex
	speaks chan struct{}        // closed while the broker answers
	takes  func() time.Duration // the time until an answer
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	inner, err := memory.New()
	require.NoError(t, err)
	b := &broker{Transport: inner, speaks: make(chan struct{}), takes: func() time.Duration { return 0 }}
	close(b.speaks)
	return b
}

func (b *broker) silence() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.speaks = make(chan struct{})
}

func (b *broker) speak() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.speaks)
}

func (b *broker) slow(takes func() time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.takes = takes
}

// answer waits until the broker answers.
func (b *broker) answer(ctx context.Context) error {
	b.mu.Lock()
	speaks, takes := b.speaks, b.takes()
	b.mu.Unlock()
	select {
	case <-speaks:
		pause(ctx, takes)
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *broker) Ping(ctx context.Context) error {
	if err := b.answer(ctx); err != nil {
		return &driver.Error{Code: driver.ContextCode(err), Op: "ping", Err: err}
	}
	return b.Transport.Ping(ctx)
}

// bench is a bus on a broker, with observers of its readiness.
type bench struct {
	t       *testing.T
	broker  *broker
	bus     *bus.Bus
	reg     *probe.Registry
	monitor *liveness.Monitor
	web     http.Handler
	health  *grpcprobe.HealthServer
	ctx     context.Context // ends with close
	end     context.CancelFunc
	working sync.WaitGroup
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, broker: newBroker(t), reg: probe.New()}
	var err error
	b.bus, err = bus.New(b.broker)
	require.NoError(t, err)
	require.NoError(t, b.bus.EnsureTopic(t.Context(), bus.TopicSpec{Name: "orders", Partitions: 2}))
	b.monitor, err = liveness.Attach(b.bus, b.reg, liveness.WithHistory(10_000))
	require.NoError(t, err)
	b.web = probe.Handler(b.reg)
	b.health, err = grpcprobe.NewHealthServer(b.reg)
	require.NoError(t, err)
	sub, err := b.bus.Consume(context.WithoutCancel(t.Context()), "orders", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("billing"))
	require.NoError(t, err)
	b.monitor.Require(sub)
	b.ctx, b.end = context.WithCancel(t.Context())
	ctx := b.ctx
	// Slow observers and stuck observers.
	b.monitor.OnPing(func(liveness.PingResult) { <-ctx.Done() })
	for _, look := range []func(){
		func() {
			for range b.monitor.Watch(ctx) {
				<-ctx.Done()
			}
		},
		func() {
			for range b.reg.Watch(ctx) {
				<-ctx.Done()
			}
		},
		func() {
			for range b.reg.Watch(ctx) {
				pause(ctx, 700*time.Millisecond)
			}
		},
	} {
		b.working.Go(look)
	}
	require.NoError(t, b.reg.WaitReady(t.Context()))
	return b
}

func (b *bench) close() {
	b.end()
	b.working.Wait()
	assert.NoError(b.t, b.monitor.Close())
	assert.NoError(b.t, b.bus.Close())
}

// publish publishes one message at an interval while the broker answers, until close.
func (b *bench) publish(interval time.Duration) {
	ctx := b.ctx
	b.working.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if b.broker.answer(ctx) == nil {
				_ = b.bus.Publish("orders", message.NewMessage(fmt.Sprint(n), nil))
			}
			pause(ctx, interval)
		}
	})
}

// until returns how long it takes until the registry is ready, or not ready. The clock of
// synctest stands still during the comparison, so the servers must agree at that moment.
func (b *bench) until(ready bool) time.Duration {
	b.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for snap := range b.reg.Watch(ctx) {
		if snap.Ready == ready {
			b.agree(ready)
			return time.Since(began)
		}
	}
	b.t.Fatalf("ready did not become %v: %v", ready, b.reg.Snapshot().Err())
	return 0
}

func (b *bench) agree(ready bool) {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.web.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	answer, err := b.health.Check(b.t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(b.t, err)
	if ready {
		require.Equal(b.t, http.StatusOK, w.Code)
		require.Equal(b.t, healthpb.HealthCheckResponse_SERVING, answer.GetStatus())
	} else {
		require.Equal(b.t, http.StatusServiceUnavailable, w.Code)
		require.Equal(b.t, healthpb.HealthCheckResponse_NOT_SERVING, answer.GetStatus())
	}
}

func TestReadinessOnMemory(t *testing.T) {
	t.Parallel()
	for name, interval := range map[string]time.Duration{"busy": 200 * time.Millisecond, "idle": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var fs figures
				b := newBench(t)
				b.publish(interval)
				// Each loss occurs at another time after the last answer of the broker.
				random := rand.New(rand.NewPCG(1, 2))
				anyTime := func() { time.Sleep(2*time.Second + time.Duration(random.Int64N(int64(time.Second)))) }
				for range 50 {
					anyTime()
					b.broker.silence()
					fs.add("silent: not ready, "+name, hardTarget, b.until(false))
					anyTime()
					b.broker.speak()
					fs.add("speaks again: ready, "+name, backTarget, b.until(true))
					anyTime()
					b.broker.Disconnect(nil)
					fs.add("connections lost: not ready, "+name, hardTarget, b.until(false))
					anyTime()
					b.broker.Connect()
					fs.add("connected again: ready, "+name, backTarget, b.until(true))
				}
				require.EqualValues(t, 100, b.monitor.Transitions()[probe.NotReady], "the losses of the test, and no other")
				for _, f := range fs.all {
					t.Log(f)
					require.LessOrEqual(t, f.quantile(1), f.target, f.name) // the clock of synctest does not depend on the machine
				}
				b.close()
			})
		})
	}
}

// A broker under load answers late, and sometimes too late.
func TestSlowBrokerStaysReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		random := rand.New(rand.NewPCG(3, 4))
		b.broker.slow(func() time.Duration { // one in ten takes longer than the probe time-out
			if random.IntN(10) == 0 {
				return liveness.DefaultPingTimeout + 200*time.Millisecond
			}
			return time.Duration(random.Int64N(int64(400 * time.Millisecond)))
		})
		for range 4 {
			b.publish(50 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		require.True(t, b.reg.Ready())
		require.Zero(t, b.monitor.Transitions()[probe.NotReady], "%v", b.monitor.History())
		b.close()
	})
}

// A silence that is shorter than two pings is not a loss.
func TestShortSilenceStaysReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.publish(100 * time.Millisecond)
		for range 20 {
			time.Sleep(3 * time.Second)
			b.broker.silence()
			time.Sleep(900 * time.Millisecond)
			b.broker.speak()
		}
		time.Sleep(3 * time.Second)
		require.Zero(t, b.monitor.Transitions()[probe.NotReady])
		b.close()
	})
}
