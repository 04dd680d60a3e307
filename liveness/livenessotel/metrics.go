package livenessotel

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness"
)

const scope = "github.com/trunkline/trunkline/liveness/livenessotel"

// Attribute keys.
const (
	serviceKey   = attribute.Key("trunkline.service.name")
	statusKey    = attribute.Key("trunkline.service.status")
	errorKey     = attribute.Key("error.type")
	topicKey     = attribute.Key("messaging.destination.name")
	groupKey     = attribute.Key("messaging.consumer.group.name")
	partitionKey = attribute.Key("messaging.destination.partition.id")
	brokerKey    = attribute.Key("trunkline.broker.state")
	replicasKey  = attribute.Key("trunkline.partition.state")
)

// Metrics measures one monitor, and one checker at most. It has no goroutines. It is safe
// for concurrent use.
type Metrics struct {
	close func() error
}

// Option configures Metrics.
type Option func(*options)

type options struct {
	provider metric.MeterProvider
	checker  *liveness.Checker
}

// WithMeterProvider sets the meter provider. The default is the global one.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) { o.provider = p }
}

// WithChecker measures a checker, too. The default is none.
func WithChecker(c *liveness.Checker) Option {
	return func(o *options) { o.checker = c }
}

// New measures a monitor until Close. It returns an error if m is nil, or if the meter
// provider rejects an instrument. The caller still closes the monitor.
func New(m *liveness.Monitor, opts ...Option) (*Metrics, error) {
	if m == nil {
		return nil, errors.New("livenessotel: new metrics: the monitor is nil")
	}
	o := options{provider: otel.GetMeterProvider()}
	for _, opt := range opts {
		opt(&o)
	}
	meter := o.provider.Meter(scope)
	c := &collector{monitor: m, checker: o.checker, service: serviceKey.String(m.ServiceName())}
	observables, err := c.instruments(meter)
	if err != nil {
		return nil, fmt.Errorf("livenessotel: create the instruments: %w", err)
	}
	registration, err := meter.RegisterCallback(c.observe, observables...)
	if err != nil {
		return nil, fmt.Errorf("livenessotel: register the callback: %w", err)
	}
	remove := m.OnPing(c.pinged)
	return &Metrics{close: sync.OnceValue(func() error {
		remove()
		return registration.Unregister()
	})}, nil
}

// Close stops measuring. It is idempotent.
func (m *Metrics) Close() error { return m.close() }

// collector reads the monitor and the checker, and holds the instruments.
type collector struct {
	monitor *liveness.Monitor
	checker *liveness.Checker // nil for none
	service attribute.KeyValue

	live, ready, healthy metric.Int64ObservableGauge
	transitions          metric.Int64ObservableCounter
	pings                metric.Float64Histogram
	age                  metric.Float64ObservableGauge
	assigned, lag        metric.Int64ObservableGauge

	passed, brokers, partitions metric.Int64ObservableGauge
}

// builder creates instruments. It collects them and their errors.
type builder struct {
	meter metric.Meter
	all   []metric.Observable
	err   error
}

func (k *builder) gauge(name, unit, description string) metric.Int64ObservableGauge {
	g, err := k.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	k.add(g, err)
	return g
}

func (k *builder) add(o metric.Observable, err error) {
	k.all = append(k.all, o)
	k.err = errors.Join(k.err, err)
}

func (c *collector) instruments(meter metric.Meter) ([]metric.Observable, error) {
	k := &builder{meter: meter}
	c.live = k.gauge("trunkline.liveness.live", "", "1 while the broker answers, else 0.")
	c.ready = k.gauge("trunkline.liveness.ready", "", "1 while the bus is live and every required subscription is assigned, else 0.")
	c.healthy = k.gauge("trunkline.liveness.healthy", "", "1 while the service works or will recover by itself, else 0.")
	c.assigned = k.gauge("trunkline.subscription.assigned", "", "1 while the subscription has its assignment, else 0.")
	c.lag = k.gauge("trunkline.subscription.lag", "{record}", "Records of a partition that are not acknowledged.")
	transitions, err := meter.Int64ObservableCounter("trunkline.liveness.transitions", metric.WithUnit("{transition}"),
		metric.WithDescription("How often the service entered each status."))
	k.add(transitions, err)
	age, err := meter.Float64ObservableGauge("trunkline.liveness.last_success.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the broker's last sign of life."))
	k.add(age, err)
	c.transitions, c.age = transitions, age
	if c.checker != nil {
		c.passed = k.gauge("trunkline.check.passed", "", "1 if the last check passed, else 0.")
		c.brokers = k.gauge("trunkline.check.brokers", "{broker}", "Brokers that answer (up), and brokers that do not (down).")
		c.partitions = k.gauge("trunkline.check.partitions", "{partition}", "Partitions of the checked topics, by the state of their replicas.")
	}
	c.pings, err = meter.Float64Histogram("trunkline.liveness.ping.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of pings."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5))
	return k.all, errors.Join(k.err, err)
}

func (c *collector) pinged(p liveness.PingResult) {
	attrs := []attribute.KeyValue{c.service}
	if p.Err != nil {
		attrs = append(attrs, errorKey.String(bus.CodeOf(p.Err).String()))
	}
	c.pings.Record(context.Background(), p.Duration.Seconds(), metric.WithAttributes(attrs...))
}

func (c *collector) observe(_ context.Context, to metric.Observer) error {
	service := metric.WithAttributeSet(attribute.NewSet(c.service))
	s := c.monitor.State()
	to.ObserveInt64(c.live, number(s.Live), service)
	to.ObserveInt64(c.ready, number(s.Status.Ready()), service)
	to.ObserveInt64(c.healthy, number(s.Status.Healthy()), service)
	if !s.LastSuccess.IsZero() {
		to.ObserveFloat64(c.age, max(0, time.Since(s.LastSuccess).Seconds()), service)
	}
	for status, n := range c.monitor.Transitions() {
		to.ObserveInt64(c.transitions, int64(n), metric.WithAttributes(c.service, statusKey.String(status.String())))
	}
	c.observeSubscriptions(to)
	if c.checker != nil {
		c.observeCheck(to)
	}
	return nil
}

// observeSubscriptions merges the subscriptions on one topic and group, because they have
// the same attributes.
func (c *collector) observeSubscriptions(to metric.Observer) {
	assigned, lag := make(map[attribute.Distinct]point), make(map[attribute.Distinct]point)
	for _, sub := range c.monitor.Subscriptions() {
		attrs := []attribute.KeyValue{c.service, topicKey.String(sub.Topic())}
		if sub.Group() != "" {
			attrs = append(attrs, groupKey.String(sub.Group()))
		}
		set := attribute.NewSet(attrs...)
		held, _ := sub.Assigned()
		one, seen := assigned[set.Equivalent()]
		if seen { // the metric is 1 if and only if all of them are assigned
			held = held && one.n == 1
		}
		assigned[set.Equivalent()] = point{set, number(held)}
		for _, l := range sub.Lag() {
			set := attribute.NewSet(append(attrs, partitionKey.String(strconv.Itoa(int(l.Partition))))...)
			// Without a group each subscription has its own lag. The metric is the largest.
			lag[set.Equivalent()] = point{set, max(l.Records, lag[set.Equivalent()].n)}
		}
	}
	for _, x := range assigned {
		to.ObserveInt64(c.assigned, x.n, metric.WithAttributeSet(x.set))
	}
	for _, x := range lag {
		to.ObserveInt64(c.lag, x.n, metric.WithAttributeSet(x.set))
	}
}

type point struct {
	set attribute.Set
	n   int64
}

func (c *collector) observeCheck(to metric.Observer) {
	last, ok := c.checker.Last()
	if !ok || last.Skipped != nil {
		return
	}
	service := serviceKey.String(c.checker.ServiceName())
	to.ObserveInt64(c.passed, number(last.Err == nil), metric.WithAttributes(service))
	brokers := map[string]int64{"up": 0, "down": 0}
	for _, b := range last.Brokers {
		if b.Err == nil {
			brokers["up"]++
		} else {
			brokers["down"]++
		}
	}
	partitions := map[string]int64{"in_sync": 0, "under_replicated": 0, "leaderless": 0}
	for _, t := range last.Topics {
		for _, p := range t.Partitions {
			switch {
			case p.Leader < 0:
				partitions["leaderless"]++
			case len(p.InSync) < len(p.Replicas):
				partitions["under_replicated"]++
			default:
				partitions["in_sync"]++
			}
		}
	}
	for state, n := range brokers {
		to.ObserveInt64(c.brokers, n, metric.WithAttributes(service, brokerKey.String(state)))
	}
	for state, n := range partitions {
		to.ObserveInt64(c.partitions, n, metric.WithAttributes(service, replicasKey.String(state)))
	}
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
