package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// Transport connects a bus to a Kafka cluster. It implements [driver.Transport] and
// [driver.Admin]. Make one with [New]. All methods are safe for concurrent use.
type Transport struct {
	opts       *options
	seeds      []string
	codec      recordCodec
	traffic    *traffic
	isolation  *isolation
	maxMessage int // bytes, as package bus counts them
	connection *connectionMonitor
	probe      *brokerProbe

	// ctx ends when Close has ended the sessions and the producer, or has given up on them.
	ctx    context.Context
	cancel context.CancelFunc
	tasks  taskGroup

	producer *producer
	meta     lazyClient // for metadata, administration and offsets

	mu       sync.Mutex
	closing  bool
	sessions map[session]struct{}

	closeOnce sync.Once
	closed    chan struct{} // closed when the first Close returns
	closeErr  error
}

var (
	_ driver.Transport      = (*Transport)(nil)
	_ driver.Admin          = (*Transport)(nil)
	_ driver.PartitionAdder = (*Transport)(nil)
	_ driver.Checker        = (*Transport)(nil)
)

// New returns a transport for the cluster that brokers belong to. brokers are the addresses
// ("host:port") of some of its brokers. New returns an error for an empty list, a malformed
// address, or a wrong option. It does not wait for a broker: the transport connects in the
// background and keeps trying; see [Transport.Ready]. The caller must close the transport;
// a bus that is made with it does so.
func New(brokers []string, opts ...Option) (*Transport, error) {
	o := defaults()
	for _, opt := range opts {
		if opt == nil {
			return nil, invalid("an option must not be nil")
		}
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	if o.login != nil && o.login.sendsCredential() && o.tls == nil && !o.insecureSASL {
		return nil, invalid(fmt.Sprintf("%v without TLS would send the credential in plain text: use TLS, SCRAM, or WithInsecureSASL", o.login))
	}
	if len(brokers) == 0 {
		return nil, invalid("at least one broker address is required")
	}
	for _, b := range brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			return nil, invalid("a broker address must have the form host:port")
		}
	}
	t := &Transport{
		opts: o, seeds: slices.Clone(brokers), codec: recordCodec{marshaler: o.marshaler, byTopic: o.byTopic},
		traffic: &traffic{}, isolation: newIsolation(), sessions: make(map[session]struct{}), closed: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.connection = newConnectionMonitor(o, t.traffic)
	if err := t.validate(); err != nil {
		t.cancel()
		return nil, err
	}
	t.meta.make = t.newClient
	t.probe = &brokerProbe{net: t.newNetwork(), addrs: t.addresses, explain: o.explain, explainEarlyClose: o.explainEarlyClose}
	t.probe.config = func() *sarama.Config { return o.saramaConfig(t.probe.net) }
	t.producer = newProducer(t)
	t.connection.probe = t.probeOnce
	t.connection.onDown = t.resetAll
	t.tasks.start(func() { t.connection.run(t.ctx) })
	w := &watchdog{
		open: t.newProbeNetwork, config: o.saramaConfig, addrs: t.addresses, isolation: t.isolation, logger: o.logger,
		after: max(time.Second, 2*o.consumer.fetch.Wait), timeout: min(time.Second, o.times.Request),
	}
	t.tasks.start(func() { w.run(t.ctx) })
	return t, nil
}

// validate makes sarama check the configuration that the options result in, so that New
// returns an error for a wrong one.
func (t *Transport) validate() error {
	n := t.newNetwork()
	defer n.close()
	c := t.opts.saramaConfig(n)
	if c.Consumer.MaxWaitTime > c.Net.ReadTimeout*3/4 {
		return invalid(fmt.Sprintf("the fetch wait must be at most three quarters of the request time-out of %v, got %v", c.Net.ReadTimeout, c.Consumer.MaxWaitTime))
	}
	if err := c.Validate(); err != nil {
		return failCode(driver.CodeInvalidArgument, "open", "", "the sarama configuration is not valid", err)
	}
	t.maxMessage = payloadLimit(c.Producer.MaxMessageBytes)
	return nil
}

func (t *Transport) newNetwork() *network {
	n := newNetwork(t.opts, t.traffic)
	n.isolation = t.isolation
	t.isolation.add(n)
	return n
}

// newProbeNetwork makes a network whose traffic does not count for the state of the
// transport's connection, and that can reach isolated brokers.
func (t *Transport) newProbeNetwork() *network {
	return newNetwork(t.opts, &traffic{lost: func() {}})
}

// addresses returns the seeds and every broker in the metadata, so that the transport finds
// the cluster even if all seeds are unavailable.
func (t *Transport) addresses() []string {
	addrs := slices.Clone(t.seeds)
	for _, b := range t.meta.brokers() {
		if !slices.Contains(addrs, b.Addr()) {
			addrs = append(addrs, b.Addr())
		}
	}
	return addrs
}

// resetAll closes all connections when no broker answers, so that requests fail at once.
func (t *Transport) resetAll() {
	t.probe.net.reset()
	t.meta.reset()
	t.producer.reset()
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.sessions {
		s.reset()
	}
}

// Capabilities implements [driver.Transport].
func (t *Transport) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Name: transportName, Ordered: true, Keys: true, HeaderOrder: t.codec.keepsHeaderOrder(), Partitions: true, Groups: true, Replay: true,
		Redelivery: true, CrossProcess: true, Durable: true, Topics: true,
		CommitInterval: 100 * time.Millisecond, MaxMessageBytes: t.maxMessage,
	}
}

// Publish implements [driver.Transport].
func (t *Transport) Publish(batch []driver.Outgoing) {
	t.producer.publish(batch)
}

// Subscribe implements [driver.Transport].
func (t *Transport) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	if ctx.Err() != nil {
		return nil, canceled(ctx, "subscribe", s.Topic, "the context ended before the session began")
	}
	var reason string
	switch {
	case s.Topic == "":
		reason = "the topic must not be empty"
	case s.Group != "" && s.Partitions != nil:
		reason = "a subscription with a group cannot choose partitions: leave out the group or the partitions"
	case s.Start.Kind == driver.StartAtOffset && s.Start.Offset < 0:
		reason = "the start offset must not be negative"
	case s.Start.Kind == driver.StartAtTime && s.Start.Time.IsZero():
		reason = "the start time must not be zero"
	case slices.ContainsFunc(s.Partitions, func(p int32) bool { return p < 0 }):
		reason = "a partition must not be negative"
	}
	if reason != "" {
		return nil, failCode(driver.CodeInvalidArgument, "subscribe", s.Topic, reason, nil)
	}
	s.MaxFetch = max(1, s.MaxFetch)
	s.Partitions = slices.Clone(s.Partitions)

	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return nil, closedError("subscribe", s.Topic)
	}
	var opened session
	if s.Group != "" {
		g := newGroupSession(t, s)
		if err := t.setStaticMember(g); err != nil {
			g.stop()
			return nil, err
		}
		opened = g
	} else {
		opened = newReaderSession(t, s)
	}
	t.sessions[opened] = struct{}{}
	t.tasks.start(func() {
		opened.run()
		t.mu.Lock()
		delete(t.sessions, opened)
		t.mu.Unlock()
	})
	return opened, nil
}

// setStaticMember makes g a static member if the transport has static membership. The member
// gets a number that no other session of the topic and group has. t.mu is held.
func (t *Transport) setStaticMember(g *groupSession) error {
	if t.opts.consumer.instanceID == "" {
		return nil
	}
	number := 1
	taken := func(s session) bool {
		other, ok := s.(*groupSession)
		return ok && other.sub.Topic == g.sub.Topic && other.sub.Group == g.sub.Group && other.number == number
	}
	for slices.ContainsFunc(slices.Collect(maps.Keys(t.sessions)), taken) {
		number++
	}
	return g.setStatic(t.opts.consumer.instanceID, number)
}

// Ready implements [driver.Transport].
func (t *Transport) Ready(ctx context.Context) error {
	select {
	case <-t.closed:
		return closedError("ready", "")
	default:
	}
	return t.connection.ready(ctx, "ready", "")
}

// Ping implements [driver.Transport]. It makes a round trip to a broker on a separate
// connection.
func (t *Transport) Ping(ctx context.Context) error {
	err := t.probeOnce(ctx)
	switch {
	case err == nil:
		return nil
	case t.ctx.Err() != nil:
		return closedError("ping", "")
	case isRefused(err):
		return fail("ping", "", err)
	default:
		t.connection.probeNow() // the monitor determines the state itself
		return failCode(driver.CodeUnavailable, "ping", "", "no broker answered", err)
	}
}

func (t *Transport) probeOnce(ctx context.Context) error {
	err := t.await(ctx, t.probe.probe)
	if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		// The broker does not answer. Closing the connection ends the probe, so that the next
		// one uses a new connection.
		t.probe.net.reset()
	}
	return err
}

// Observe implements [driver.Transport].
func (t *Transport) Observe(observe func(driver.Connection)) { t.connection.setObserver(observe) }

// await calls f, which takes no context, on a goroutine of the transport. It returns the
// error of f, or that of ctx if ctx ends first.
func (t *Transport) await(ctx context.Context, f func() error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	done := make(chan error, 1)
	if !t.tasks.start(func() { done <- f() }) {
		return closedError("call", "")
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close implements [driver.Transport].
func (t *Transport) Close(ctx context.Context) error {
	t.closeOnce.Do(func() {
		defer close(t.closed)
		t.closeErr = t.shutdown(ctx)
	})
	select {
	case <-t.closed:
		return t.closeErr
	case <-ctx.Done():
		select {
		case <-t.closed:
			return t.closeErr
		default:
			return failCode(driver.ContextCode(ctx.Err()), "close", "", "another call of Close is in progress", ctx.Err())
		}
	}
}

func (t *Transport) shutdown(ctx context.Context) error {
	t.connection.stopObserver()
	t.mu.Lock()
	t.closing = true
	open := make([]session, 0, len(t.sessions))
	for s := range t.sessions {
		open = append(open, s)
	}
	t.mu.Unlock()

	var wg sync.WaitGroup
	errs := make([]error, len(open)+1)
	for i, s := range open {
		wg.Go(func() { errs[i] = s.Close(ctx) })
	}
	wg.Go(func() { errs[len(open)] = t.producer.close(ctx) })
	wg.Wait()

	t.cancel()
	t.probe.net.close()
	t.meta.close()
	if !t.tasks.wait(taskTimeout) {
		t.opts.logger.Warn("goroutines of sarama are still running after Close")
	}
	t.probe.close()
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return failCode(driver.ContextCode(ctx.Err()), "close", "", "the context ended before all messages had an outcome and all sessions had ended", ctx.Err())
	}
	return fail("close", "", err)
}

// taskTimeout limits how long Close waits for goroutines after it has closed their networks.
const taskTimeout = 3 * time.Second
