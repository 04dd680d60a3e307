package consumerotel_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/consumer/consumerotel"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// measured has what a reader collected, by the name of the instrument.
type measured map[string]metricdata.Aggregation

func collect(t *testing.T, reader *sdk.ManualReader) measured {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	m := measured{}
	for _, scope := range all.ScopeMetrics {
		for _, x := range scope.Metrics {
			m[x.Name] = x.Data
		}
	}
	return m
}

// value returns the value of a gauge or counter with these attributes and those of topic and
// group.
func (m measured) value(t *testing.T, name string, attrs ...attribute.KeyValue) int64 {
	t.Helper()
	want := attribute.NewSet(append(attrs, attribute.String("messaging.destination.name", "t"), attribute.String("messaging.consumer.group.name", "g"))...)
	var points []metricdata.DataPoint[int64]
	switch data := m["trunkline.consumer."+name].(type) {
	case metricdata.Gauge[int64]:
		points = data.DataPoints
	case metricdata.Sum[int64]:
		points = data.DataPoints
	}
	for _, p := range points {
		if p.Attributes.Equals(&want) {
			return p.Value
		}
	}
	require.FailNow(t, "no such measurement", "%s %v: %v", name, want.Encoded(attribute.DefaultEncoder()), points)
	return 0
}

func TestInstrumentsFollowTheConsumer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		b, err := bus.New(tr, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}))
		require.NoError(t, err)
		defer b.Close()
		for i := range 6 {
			require.NoError(t, b.Publish("t", message.NewMessage("id", []byte{byte(i)})))
		}
		errFull := &bus.Error{Code: bus.CodeResourceExhausted, Reason: "full"}
		release := make(chan struct{})
		c, err := consumer.New(b, "t", func(_ context.Context, d *bus.Delivery) error {
			time.Sleep(3 * time.Millisecond)
			switch d.Payload[0] {
			case 1:
				return errFull
			case 2:
				return bus.Drop(errors.New("not needed"))
			case 4:
				<-release
			}
			return nil
		}, bus.Group("g"), consumer.WithAttempts(2), bus.DeadLetterTopic("dead"))
		require.NoError(t, err)
		reader := sdk.NewManualReader()
		m, err := consumerotel.New(c, consumerotel.WithMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader))))
		require.NoError(t, err)
		state := func(s consumer.State) attribute.KeyValue {
			return attribute.String("trunkline.consumer.state", s.String())
		}
		require.EqualValues(t, 1, collect(t, reader).value(t, "state", state(consumer.Initialising)))
		require.NoError(t, c.Start())
		elapse(time.Minute)
		got := collect(t, reader)
		for name, want := range map[string]int64{
			"in_flight": 1, "blocked": 0, "paused": 0, "handled": 2, "failed": 2, "retried": 1, "postponed": 0, "dead_lettered": 1, "dropped": 1, "interrupted": 0,
		} {
			require.Equal(t, want, got.value(t, name), name)
		}
		require.EqualValues(t, 2, got.value(t, "lag", attribute.String("messaging.destination.partition.id", "0")))
		for _, s := range consumer.States() {
			entered, now := int64(0), int64(0)
			switch s {
			case consumer.Initialising, consumer.Starting:
				entered = 1
			case consumer.Consuming:
				entered, now = 1, 1
			}
			require.Equal(t, now, got.value(t, "state", state(s)), s)
			require.Equal(t, entered, got.value(t, "transitions", state(s)), s)
		}
		close(release)
		elapse(time.Minute)
		require.NoError(t, c.Shutdown(t.Context()))
		durations := collect(t, reader)["trunkline.consumer.handler.duration"].(metricdata.Histogram[float64])
		calls := map[string]uint64{}
		for _, p := range durations.DataPoints {
			kind, _ := p.Attributes.Value("error.type")
			calls[kind.AsString()] = p.Count
			topic, _ := p.Attributes.Value("messaging.destination.name")
			require.Equal(t, "t", topic.AsString())
		}
		require.Equal(t, map[string]uint64{"": 4, "resource_exhausted": 2, "unknown": 1}, calls)
		require.NoError(t, m.Close())
		require.NoError(t, m.Close(), "idempotent")
		require.Empty(t, collect(t, reader)["trunkline.consumer.state"])
	})
}

func TestNewRejectsNilConsumer(t *testing.T) {
	t.Parallel()
	_, err := consumerotel.New(nil)
	require.Error(t, err)
}

// elapse advances the clock of a synctest bubble and waits until nothing is left to do.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
