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

// Metrics measures one monitor, and one checker if there is one. It is safe for
// concurrent use. It has no goroutines.
type Metrics struct {
	close func() error
}

// Option configures Metrics.
type Option func(*options)

type options struct {
	provider metric.MeterProvider
	checker  *liveness.Checker
}

// WithMeterProvider sets where measurements go. Default: the global provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) { o.provider = p }
}

// WithChecker measures a checker of the same bus, too. Default: none.
func WithChecker(c *liveness.Checker) Option {
	return func(o *options) { o.checker = c }
}

// New measures m until Close. The monitor stays the caller's. It fails if m is nil or
// the provider does not take the instruments.
func New(m *liveness.Monitor, opts ...Option) (*Metrics, error) {
	if m == nil {
		return nil, errors.New("livenessotel: New needs a monitor, got nil")
	}
	o := options{provider: otel.GetMeterProvider()}
	for _, opt := range opts {
		opt(&o)
	}
	meter := o.provider.Meter(scope)
	of := &observed{monitor: m, checker: o.checker, service: serviceKey.String(m.ServiceName())}
	observables, err := of.instruments(meter)
	if err != nil {
		return nil, fmt.Errorf("livenessotel: make the instruments: %w", err)
	}
	registration, err := meter.RegisterCallback(of.observe, observables...)
	if err != nil {
		return nil, fmt.Errorf("livenessotel: register with the meter: %w", err)
	}
	remove := m.OnPing(of.pinged)
	return &Metrics{close: sync.OnceValue(func() error {
		remove()
		return registration.Unregister()
	})}, nil
}

// Close ends the measuring. It is idempotent.
func (m *Metrics) Close() error { return m.close() }

// observed is what is measured, and with what.
type observed struct {
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

// maker makes instruments until one fails.
type maker struct {
	meter metric.Meter
	all   []metric.Observable
	err   error
}

func (k *maker) gauge(name, unit, description string) metric.Int64ObservableGauge {
	g, err := k.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	k.made(g, err)
	return g
}

func (k *maker) made(o metric.Observable, err error) {
	k.all = append(k.all, o)
	k.err = errors.Join(k.err, err)
}

func (of *observed) instruments(meter metric.Meter) ([]metric.Observable, error) {
	k := &maker{meter: meter}
	of.live = k.gauge("trunkline.liveness.live", "", "1 while the broker can be talked to, else 0.")
	of.ready = k.gauge("trunkline.liveness.ready", "", "1 while live and every required subscription is assigned, else 0.")
	of.healthy = k.gauge("trunkline.liveness.healthy", "", "1 unless it won't recover by itself, else 0.")
	of.assigned = k.gauge("trunkline.subscription.assigned", "", "1 while the subscription is assigned, else 0.")
	of.lag = k.gauge("trunkline.subscription.lag", "{record}", "Records of a partition that are not acknowledged.")
	transitions, err := meter.Int64ObservableCounter("trunkline.liveness.transitions", metric.WithUnit("{transition}"),
		metric.WithDescription("How often the service entered a status."))
	k.made(transitions, err)
	age, err := meter.Float64ObservableGauge("trunkline.liveness.last_success.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the broker's last sign of life."))
	k.made(age, err)
	of.transitions, of.age = transitions, age
	if of.checker != nil {
		of.passed = k.gauge("trunkline.check.passed", "", "1 if the last check passed, else 0.")
		of.brokers = k.gauge("trunkline.check.brokers", "{broker}", "Brokers that answer, and that don't.")
		of.partitions = k.gauge("trunkline.check.partitions", "{partition}", "Partitions of the topics that were looked at.")
	}
	of.pings, err = meter.Float64Histogram("trunkline.liveness.ping.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of pings."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5))
	return k.all, errors.Join(k.err, err)
}

func (of *observed) pinged(p liveness.PingResult) {
	attrs := []attribute.KeyValue{of.service}
	if p.Err != nil {
		attrs = append(attrs, errorKey.String(bus.CodeOf(p.Err).String()))
	}
	of.pings.Record(context.Background(), p.Duration.Seconds(), metric.WithAttributes(attrs...))
}

func (of *observed) observe(_ context.Context, to metric.Observer) error {
	service := metric.WithAttributeSet(attribute.NewSet(of.service))
	s := of.monitor.State()
	to.ObserveInt64(of.live, number(s.Live), service)
	to.ObserveInt64(of.ready, number(s.Status.Ready()), service)
	to.ObserveInt64(of.healthy, number(s.Status.Healthy()), service)
	if !s.LastSuccess.IsZero() {
		to.ObserveFloat64(of.age, max(0, time.Since(s.LastSuccess).Seconds()), service)
	}
	for status, n := range of.monitor.Transitions() {
		to.ObserveInt64(of.transitions, int64(n), metric.WithAttributes(of.service, statusKey.String(status.String())))
	}
	of.observeSubscriptions(to)
	if of.checker != nil {
		of.observeCheck(to)
	}
	return nil
}

// observeSubscriptions joins what several subscriptions on one topic and group have: they
// share their attributes.
func (of *observed) observeSubscriptions(to metric.Observer) {
	assigned, lag := make(map[attribute.Distinct]point), make(map[attribute.Distinct]point)
	for _, sub := range of.monitor.Subscriptions() {
		attrs := []attribute.KeyValue{of.service, topicKey.String(sub.Topic())}
		if sub.Group() != "" {
			attrs = append(attrs, groupKey.String(sub.Group()))
		}
		set := attribute.NewSet(attrs...)
		held, _ := sub.Assigned()
		one, seen := assigned[set.Equivalent()]
		if seen { // assigned if and only if all are
			held = held && one.n == 1
		}
		assigned[set.Equivalent()] = point{set, number(held)}
		for _, l := range sub.Lag() {
			set := attribute.NewSet(append(attrs, partitionKey.String(strconv.Itoa(int(l.Partition))))...)
			// Without a group each subscription has a position of its own: the worst counts.
			lag[set.Equivalent()] = point{set, max(l.Records, lag[set.Equivalent()].n)}
		}
	}
	for _, x := range assigned {
		to.ObserveInt64(of.assigned, x.n, metric.WithAttributeSet(x.set))
	}
	for _, x := range lag {
		to.ObserveInt64(of.lag, x.n, metric.WithAttributeSet(x.set))
	}
}

type point struct {
	set attribute.Set
	n   int64
}

func (of *observed) observeCheck(to metric.Observer) {
	last, ok := of.checker.Last()
	if !ok || last.Skipped != nil {
		return
	}
	service := serviceKey.String(of.checker.ServiceName())
	to.ObserveInt64(of.passed, number(last.Err == nil), metric.WithAttributes(service))
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
		to.ObserveInt64(of.brokers, n, metric.WithAttributes(service, brokerKey.String(state)))
	}
	for state, n := range partitions {
		to.ObserveInt64(of.partitions, n, metric.WithAttributes(service, replicasKey.String(state)))
	}
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
