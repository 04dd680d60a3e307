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

// Metrics measures one consumer. It is safe for concurrent use. It has no goroutines.
type Metrics struct {
	close func() error
}

// Option configures Metrics.
type Option func(*options)

type options struct{ provider metric.MeterProvider }

// WithMeterProvider sets where measurements go. Default: the global provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) { o.provider = p }
}

// New measures c until Close. The consumer stays the caller's. It fails if c is nil or
// the provider does not take the instruments.
func New(c *consumer.Consumer, opts ...Option) (*Metrics, error) {
	if c == nil {
		return nil, errors.New("consumerotel: New needs a consumer, got nil")
	}
	o := options{provider: otel.GetMeterProvider()}
	for _, opt := range opts {
		opt(&o)
	}
	of := newObserved(c)
	meter := o.provider.Meter(scope)
	observables, err := of.instruments(meter)
	if err != nil {
		return nil, fmt.Errorf("consumerotel: make the instruments: %w", err)
	}
	registration, err := meter.RegisterCallback(of.observe, observables...)
	if err != nil {
		return nil, fmt.Errorf("consumerotel: register with the meter: %w", err)
	}
	remove := c.Observe(of.handled)
	return &Metrics{close: sync.OnceValue(func() error {
		remove()
		return registration.Unregister()
	})}, nil
}

// Close ends the measuring. It is idempotent.
func (m *Metrics) Close() error { return m.close() }

// observed is what is measured, and with what.
type observed struct {
	consumer *consumer.Consumer
	group    []attribute.KeyValue // none without a group
	whole    metric.MeasurementOption
	ok       sync.Map // topic → metric.MeasurementOption of a call that succeeded

	state, paused, lag metric.Int64ObservableGauge
	transitions        metric.Int64ObservableCounter
	gauges             []gauge
	counters           []counter
	duration           metric.Float64Histogram
}

type gauge struct {
	metric.Int64ObservableGauge
	of func(consumer.Stats) int64
}

type counter struct {
	metric.Int64ObservableCounter
	of func(consumer.Stats) uint64
}

func newObserved(c *consumer.Consumer) *observed {
	of := &observed{consumer: c}
	if c.Group() != "" {
		of.group = []attribute.KeyValue{groupKey.String(c.Group())}
	}
	of.whole = of.about(c.Topic())
	return of
}

// about returns the attributes of a topic's measurement.
func (of *observed) about(topic string, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(slices.Concat(of.group, more, []attribute.KeyValue{topicKey.String(topic)})...))
}

func (of *observed) instruments(meter metric.Meter) ([]metric.Observable, error) {
	var all []metric.Observable
	var failed error
	made := func(o metric.Observable, err error) {
		all = append(all, o)
		failed = errors.Join(failed, err)
	}
	newGauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge("trunkline.consumer."+name, metric.WithUnit(unit), metric.WithDescription(description))
		made(g, err)
		return g
	}
	newCounter := func(name, unit, description string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter("trunkline.consumer."+name, metric.WithUnit(unit), metric.WithDescription(description))
		made(c, err)
		return c
	}
	of.state = newGauge("state", "", "1 for the state that the consumer is in, else 0.")
	of.transitions = newCounter("transitions", "{transition}", "How often the consumer entered a state.")
	of.paused = newGauge("paused", "", "1 while handlers are held back, else 0.")
	of.lag = newGauge("lag", "{record}", "Records of a partition that are not acknowledged.")
	of.gauges = []gauge{
		{newGauge("in_flight", "{message}", "Messages whose handlers run."), func(s consumer.Stats) int64 { return s.InFlight }},
		{newGauge("blocked", "{message}", "Messages that fail and hold up others, with nowhere to go."), func(s consumer.Stats) int64 { return s.Blocked }},
	}
	of.counters = []counter{
		{newCounter("handled", "{message}", "Messages handled."), func(s consumer.Stats) uint64 { return s.Handled }},
		{newCounter("failed", "{message}", "Failures of handlers."), func(s consumer.Stats) uint64 { return s.Failed }},
		{newCounter("retried", "{message}", "Messages to be handled again in their place."), func(s consumer.Stats) uint64 { return s.Retried }},
		{newCounter("postponed", "{message}", "Messages that went to a retry topic."), func(s consumer.Stats) uint64 { return s.Postponed }},
		{newCounter("dead_lettered", "{message}", "Messages that went to the dead-letter topic."), func(s consumer.Stats) uint64 { return s.DeadLettered }},
		{newCounter("dropped", "{message}", "Messages dropped by their handlers."), func(s consumer.Stats) uint64 { return s.Dropped }},
		{newCounter("interrupted", "{message}", "Messages whose handlers were interrupted."), func(s consumer.Stats) uint64 { return s.Interrupted }},
	}
	var err error
	of.duration, err = meter.Float64Histogram("trunkline.consumer.handler.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of handler calls."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	return all, errors.Join(failed, err)
}

func (of *observed) handled(h consumer.Handled) {
	if h.Err != nil {
		of.duration.Record(context.Background(), h.Duration.Seconds(), of.about(h.Topic, errorKey.String(bus.CodeOf(h.Err).String())))
		return
	}
	attrs, known := of.ok.Load(h.Topic)
	if !known {
		attrs, _ = of.ok.LoadOrStore(h.Topic, of.about(h.Topic))
	}
	of.duration.Record(context.Background(), h.Duration.Seconds(), attrs.(metric.MeasurementOption))
}

func (of *observed) observe(_ context.Context, to metric.Observer) error {
	s, topic := of.consumer.Stats(), of.consumer.Topic()
	for _, state := range consumer.States() {
		attrs := of.about(topic, stateKey.String(state.String()))
		to.ObserveInt64(of.state, number(s.State == state), attrs)
		to.ObserveInt64(of.transitions, int64(s.Entered[state]), attrs)
	}
	to.ObserveInt64(of.paused, number(s.Paused), of.whole)
	for _, g := range of.gauges {
		to.ObserveInt64(g.Int64ObservableGauge, g.of(s), of.whole)
	}
	for _, c := range of.counters {
		to.ObserveInt64(c.Int64ObservableCounter, int64(c.of(s)), of.whole)
	}
	for _, l := range s.Lag {
		to.ObserveInt64(of.lag, l.Records, of.about(l.Topic, partitionKey.String(strconv.Itoa(int(l.Partition)))))
	}
	return nil
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
