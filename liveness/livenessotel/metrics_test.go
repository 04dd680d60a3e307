package livenessotel_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/livenessotel"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// checked is the in-memory transport with two brokers to check, one of them down, and with
// pings that can fail.
type checked struct {
	*memory.Transport
	mu   sync.Mutex
	ping error
}

func (c *checked) Ping(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ping != nil {
		return c.ping
	}
	return c.Transport.Ping(ctx)
}

func (c *checked) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ping = err
}

func (c *checked) Check(context.Context, liveness.CheckSpec) driver.Health {
	return driver.Health{Warning: "broker 2 does not answer",
		Brokers: []driver.BrokerHealth{{ID: 1}, {ID: 2, Err: &bus.Error{Code: bus.CodeUnavailable, Op: "check"}}},
		Topics: []driver.TopicHealth{{Name: "orders", Partitions: []driver.PartitionInfo{
			{ID: 0, Leader: 1, Replicas: []int32{1, 2}, InSync: []int32{1}}, {ID: 1, Leader: -1}}}}}
}

// rig is a bus with its monitor, its metrics, and a reader of the metrics.
type rig struct {
	transport *checked
	bus       *bus.Bus
	monitor   *liveness.Monitor
	metrics   *livenessotel.Metrics
	reader    *sdk.ManualReader
}

func newRig(t *testing.T) *rig {
	t.Helper()
	inner, err := memory.New()
	require.NoError(t, err)
	r := &rig{transport: &checked{Transport: inner}, reader: sdk.NewManualReader()}
	reg := probe.New()
	r.bus, err = bus.New(r.transport)
	require.NoError(t, err)
	r.monitor, err = liveness.Attach(r.bus, reg, liveness.WithServiceName("orders-bus"))
	require.NoError(t, err)
	checker, err := liveness.AttachChecker(r.bus, reg, liveness.CheckSpec{})
	require.NoError(t, err)
	r.metrics, err = livenessotel.New(r.monitor, livenessotel.WithChecker(checker),
		livenessotel.WithMeterProvider(sdk.NewMeterProvider(sdk.WithReader(r.reader))))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, r.metrics.Close())
		assert.NoError(t, checker.Close())
		assert.NoError(t, r.monitor.Close())
		assert.NoError(t, r.bus.Close())
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, reg.WaitReady(ctx))
	return r
}

func (r *rig) collect(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(t.Context(), &all))
	found := make(map[string]metricdata.Metrics)
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

// awaitSubscription waits until the monitor has observed the subscription, which may be
// after the subscription is ready.
func (r *rig) awaitSubscription(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return len(r.monitor.Subscriptions()) > 0 }, time.Minute, time.Millisecond)
}

// awaitFailedPing waits until the metrics contain a failed ping.
func (r *rig) awaitFailedPing(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		h, ok := r.collect(t)["trunkline.liveness.ping.duration"].Data.(metricdata.Histogram[float64])
		if !ok {
			return false
		}
		for _, p := range h.DataPoints {
			if v, ok := p.Attributes.Value("error.type"); ok && v.AsString() == "unavailable" && p.Count > 0 {
				return true
			}
		}
		return false
	}, time.Minute, time.Millisecond)
}

// value returns the value of the data point with the attributes. It fails the test if there
// is none.
func value(t *testing.T, m metricdata.Metrics, attrs ...attribute.KeyValue) int64 {
	t.Helper()
	var points []metricdata.DataPoint[int64]
	switch d := m.Data.(type) {
	case metricdata.Gauge[int64]:
		points = d.DataPoints
	case metricdata.Sum[int64]:
		require.True(t, d.IsMonotonic)
		points = d.DataPoints
	default:
		t.Fatalf("%q is a %T", m.Name, m.Data)
	}
	want := attribute.NewSet(attrs...)
	for _, p := range points {
		if p.Attributes.Equals(&want) {
			return p.Value
		}
	}
	t.Fatalf("%s has no point with %v: %+v", m.Name, attrs, points)
	return 0
}

var service = attribute.String("trunkline.service.name", "orders-bus")

func TestMetricsFollowTheMonitorAndTheChecker(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := newRig(t)
	require.NoError(t, r.bus.EnsureTopic(ctx, bus.TopicSpec{Name: "orders", Partitions: 1}))
	handling, handle := make(chan struct{}, 1), make(chan struct{})
	sub, err := r.bus.Consume(ctx, "orders", func(ctx context.Context, _ *bus.Delivery) error {
		handling <- struct{}{}
		select {
		case <-handle:
		case <-ctx.Done():
		}
		return ctx.Err()
	}, bus.Group("billing"), bus.OrderByPartition())
	require.NoError(t, err)
	require.NoError(t, sub.Ready(ctx))
	for range 3 {
		require.NoError(t, r.bus.Publish("orders", message.NewMessage("id", nil)))
	}
	select {
	case <-handling:
	case <-ctx.Done():
		require.FailNow(t, "no message was delivered")
	}
	r.awaitSubscription(t)
	m := r.collect(t)
	for _, name := range []string{"trunkline.liveness.live", "trunkline.liveness.ready", "trunkline.liveness.healthy"} {
		require.EqualValues(t, 1, value(t, m[name], service), name)
	}
	topic, group := attribute.String("messaging.destination.name", "orders"), attribute.String("messaging.consumer.group.name", "billing")
	require.EqualValues(t, 1, value(t, m["trunkline.subscription.assigned"], service, topic, group))
	require.EqualValues(t, 3, value(t, m["trunkline.subscription.lag"], service, topic, group, attribute.String("messaging.destination.partition.id", "0")))
	age := m["trunkline.liveness.last_success.age"].Data.(metricdata.Gauge[float64]).DataPoints
	require.Len(t, age, 1)
	require.GreaterOrEqual(t, age[0].Value, 0.0)

	check := attribute.String("trunkline.service.name", liveness.DefaultCheckerName)
	require.EqualValues(t, 1, value(t, m["trunkline.check.passed"], check))
	require.EqualValues(t, 1, value(t, m["trunkline.check.brokers"], check, attribute.String("trunkline.broker.state", "down")))
	require.EqualValues(t, 1, value(t, m["trunkline.check.brokers"], check, attribute.String("trunkline.broker.state", "up")))
	for _, state := range []string{"under_replicated", "leaderless"} {
		require.EqualValues(t, 1, value(t, m["trunkline.check.partitions"], check, attribute.String("trunkline.partition.state", state)))
	}

	r.transport.fail(&bus.Error{Code: bus.CodeUnavailable, Op: "ping"})
	r.transport.Disconnect(nil)
	for s := range r.monitor.Watch(ctx) {
		if s.Status == probe.NotReady {
			break
		}
	}
	r.awaitFailedPing(t)
	m = r.collect(t)
	require.EqualValues(t, 0, value(t, m["trunkline.liveness.live"], service))
	require.EqualValues(t, 0, value(t, m["trunkline.liveness.ready"], service))
	require.EqualValues(t, 1, value(t, m["trunkline.liveness.healthy"], service))
	require.EqualValues(t, 1, value(t, m["trunkline.liveness.transitions"], service, attribute.String("trunkline.service.status", "NotReady")))
	close(handle)

	require.NoError(t, r.metrics.Close())
	require.NoError(t, r.metrics.Close())
	_, still := r.collect(t)["trunkline.liveness.live"]
	require.False(t, still, "the metrics are closed")
}

func TestNewRejectsANilMonitor(t *testing.T) {
	t.Parallel()
	_, err := livenessotel.New(nil)
	require.Error(t, err)
}
