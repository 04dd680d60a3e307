package consumerotel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
)

const scope = "github.com/trunkline/trunkline/bus/consumer/consumerotel"

// Attribute keys.
const (
	topicKey     = attribute.Key("messaging.destination.name")
	groupKey     = attribute.Key("messaging.consumer.group.name")
	partitionKey = attribute.Key("messaging.destination.partition.id")
	stateKey     = attribute.Key("trunkline.consumer.state")
	errorKey     = attribute.Key("error.type")
)

// Metrics measures one consumer. It is safe for concurrent use.
type Metrics struct {
	close func() error
}

// Option configures Metrics.
type Option func(*options)

type options struct{ provider metric.MeterProvider }

// WithMeterProvider sets the meter provider. The default is the global one at the time of New.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) { o.provider = p }
}

// New measures c until Close. It returns an error if c is nil or the meter provider rejects an
// instrument. Closing the Metrics does not close the consumer.
func New(c *consumer.Consumer, opts ...Option) (*Metrics, error) {
	if c == nil {
		return nil, errors.New("consumerotel: the consumer is nil")
	}
	o := options{provider: otel.GetMeterProvider()}
	for _, opt := range opts {
		opt(&o)
	}
	ms := newMeasurer(c)
	meter := o.provider.Meter(scope)
	observables, err := ms.instruments(meter)
	if err != nil {
		return nil, fmt.Errorf("consumerotel: create the instruments: %w", err)
	}
	registration, err := meter.RegisterCallback(ms.observe, observables...)
	if err != nil {
		return nil, fmt.Errorf("consumerotel: register the callback: %w", err)
	}
	remove := c.Observe(ms.handled)
	return &Metrics{close: sync.OnceValue(func() error {
		remove()
		return registration.Unregister()
	})}, nil
}

// Close ends the measurements. It is idempotent.
func (m *Metrics) Close() error { return m.close() }

// measurer reads a consumer, and holds the instruments.
type measurer struct {
	consumer *consumer.Consumer
	group    []attribute.KeyValue     // nil without a group
	whole    metric.MeasurementOption // only the attributes topic and group
	success  sync.Map                 // topic → metric.MeasurementOption of calls without an error

	state, paused, lag metric.Int64ObservableGauge
	transitions        metric.Int64ObservableCounter
	gauges             []gauge
	counters           []counter
	duration           metric.Float64Histogram
}

type gauge struct {
	metric.Int64ObservableGauge
	value func(consumer.Stats) int64
}

type counter struct {
	metric.Int64ObservableCounter
	value func(consumer.Stats) uint64
}

func newMeasurer(c *consumer.Consumer) *measurer {
	m := &measurer{consumer: c}
	if c.Group() != "" {
		m.group = []attribute.KeyValue{groupKey.String(c.Group())}
	}
	m.whole = m.attributes(c.Topic())
	return m
}

// attributes returns the attributes topic, group and more.
func (m *measurer) attributes(topic string, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(slices.Concat(m.group, more, []attribute.KeyValue{topicKey.String(topic)})...))
}

func (m *measurer) instruments(meter metric.Meter) ([]metric.Observable, error) {
	var all []metric.Observable
	var failed error
	add := func(o metric.Observable, err error) {
		all = append(all, o)
		failed = errors.Join(failed, err)
	}
	newGauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge("trunkline.consumer."+name, metric.WithUnit(unit), metric.WithDescription(description))
		add(g, err)
		return g
	}
	newCounter := func(name, unit, description string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter("trunkline.consumer."+name, metric.WithUnit(unit), metric.WithDescription(description))
		add(c, err)
		return c
	}
	m.state = newGauge("state", "", "1 for the current state of the consumer, 0 for the others.")
	m.transitions = newCounter("transitions", "{transition}", "Entries of the consumer into a state.")
	m.paused = newGauge("paused", "", "1 while the consumer is paused, otherwise 0.")
	m.lag = newGauge("lag", "{record}", "Records of a partition that are not acknowledged.")
	m.gauges = []gauge{
		{newGauge("in_flight", "{message}", "Messages whose handlers are running."), func(s consumer.Stats) int64 { return s.InFlight }},
		{newGauge("blocked", "{message}", "Messages that have used up their attempts and block others."), func(s consumer.Stats) int64 { return s.Blocked }},
	}
	m.counters = []counter{
		{newCounter("handled", "{message}", "Messages that handlers acknowledged."), func(s consumer.Stats) uint64 { return s.Handled }},
		{newCounter("failed", "{message}", "Failures of messages."), func(s consumer.Stats) uint64 { return s.Failed }},
		{newCounter("retried", "{message}", "Attempts that are repeated in place."), func(s consumer.Stats) uint64 { return s.Retried }},
		{newCounter("postponed", "{message}", "Messages that went to a retry topic."), func(s consumer.Stats) uint64 { return s.Postponed }},
		{newCounter("dead_lettered", "{message}", "Messages that went to the dead-letter topic."), func(s consumer.Stats) uint64 { return s.DeadLettered }},
		{newCounter("dropped", "{message}", "Messages that handlers dropped."), func(s consumer.Stats) uint64 { return s.Dropped }},
		{newCounter("interrupted", "{message}", "Messages whose handlers failed after their context had ended."), func(s consumer.Stats) uint64 { return s.Interrupted }},
	}
	var err error
	m.duration, err = meter.Float64Histogram("trunkline.consumer.handler.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of handler calls."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	return all, errors.Join(failed, err)
}

func (m *measurer) handled(h consumer.HandlerCall) {
	if h.Err != nil {
		m.duration.Record(context.Background(), h.Duration.Seconds(), m.attributes(h.Topic, errorKey.String(bus.CodeOf(h.Err).String())))
		return
	}
	attrs, found := m.success.Load(h.Topic)
	if !found {
		attrs, _ = m.success.LoadOrStore(h.Topic, m.attributes(h.Topic))
	}
	m.duration.Record(context.Background(), h.Duration.Seconds(), attrs.(metric.MeasurementOption))
}

func (m *measurer) observe(_ context.Context, to metric.Observer) error {
	s, topic := m.consumer.Stats(), m.consumer.Topic()
	for _, state := range consumer.States() {
		attrs := m.attributes(topic, stateKey.String(state.String()))
		to.ObserveInt64(m.state, oneIf(s.State == state), attrs)
		to.ObserveInt64(m.transitions, int64(s.Entered[state]), attrs)
	}
	to.ObserveInt64(m.paused, oneIf(s.Paused), m.whole)
	for _, g := range m.gauges {
		to.ObserveInt64(g.Int64ObservableGauge, g.value(s), m.whole)
	}
	for _, c := range m.counters {
		to.ObserveInt64(c.Int64ObservableCounter, int64(c.value(s)), m.whole)
	}
	for _, l := range s.Lag {
		to.ObserveInt64(m.lag, l.Records, m.attributes(l.Topic, partitionKey.String(strconv.Itoa(int(l.Partition)))))
	}
	return nil
}

func oneIf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
