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

// Transport is a [driver.Transport] and [driver.Admin] on the brokers of a Kafka
// cluster. Make one with [New]; all methods may be called from many goroutines.
type Transport struct {
	opts    *options
	seeds   []string
	wire    wire
	traffic *traffic
	guard   *guard
	limit   int // of a message, as package bus counts
	monitor *monitor
	pinger  *pinger

	// ctx ends when Close gives up on what is still running, or has seen its end.
	ctx    context.Context
	cancel context.CancelFunc
	tasks  tasks

	producer *producer
	meta     lazyClient // for metadata, administration and offsets

	mu       sync.Mutex
	closing  bool
	sessions map[session]struct{}

	closeOnce sync.Once
	closed    chan struct{} // closed when Close is done
	closeErr  error
}

var (
	_ driver.Transport      = (*Transport)(nil)
	_ driver.Admin          = (*Transport)(nil)
	_ driver.PartitionAdder = (*Transport)(nil)
	_ driver.Checker        = (*Transport)(nil)
)

// New returns a transport on the cluster that brokers ("host:port") belong to. It
// fails at once for what is wrong here: no brokers, a malformed address, an option.
// It never fails because no broker answers: the transport connects in the background
// and goes on trying; see [Transport.Ready].
func New(brokers []string, opts ...Option) (*Transport, error) {
	o := defaults()
	for _, opt := range opts {
		if opt == nil {
			return nil, invalid("an option is nil")
		}
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	if o.login != nil && o.login.sendsSecret() && o.tls == nil && !o.insecureSASL {
		return nil, invalid(fmt.Sprintf("%v without TLS would send the secret in plain text: use TLS, SCRAM, or WithInsecureSASL", o.login))
	}
	if len(brokers) == 0 {
		return nil, invalid("no brokers given")
	}
	for _, b := range brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			return nil, invalid("a broker's address is not host:port")
		}
	}
	t := &Transport{
		opts: o, seeds: slices.Clone(brokers), wire: wire{marshaler: o.marshaler, byTopic: o.byTopic},
		traffic: &traffic{}, guard: newGuard(), sessions: make(map[session]struct{}), closed: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.monitor = newMonitor(o, t.traffic)
	if err := t.validate(); err != nil {
		t.cancel()
		return nil, err
	}
	t.meta.make = t.newClient
	t.pinger = &pinger{net: t.newNetwork(), addrs: t.addresses, explain: o.explain, hungUp: o.hungUp}
	t.pinger.config = func() *sarama.Config { return o.configure(t.pinger.net) }
	t.producer = newProducer(t)
	t.monitor.ping = t.pingNow
	t.monitor.onDown = t.resetAll
	t.tasks.start(func() { t.monitor.run(t.ctx) })
	w := &warden{
		open: t.newQuietNetwork, config: o.configure, addrs: t.addresses, guard: t.guard, logger: o.logger,
		after: max(time.Second, 2*o.consuming.fetch.Wait), probe: min(time.Second, o.times.Request),
	}
	t.tasks.start(func() { w.run(t.ctx) })
	return t, nil
}

// validate lets sarama check what the options make of its configuration, so that a
// mistake in it is an error of New.
func (t *Transport) validate() error {
	n := t.newNetwork()
	defer n.cut()
	c := t.opts.configure(n)
	if c.Consumer.MaxWaitTime > c.Net.ReadTimeout*3/4 {
		return invalid("the wait of a fetch is over three quarters of the request time-out")
	}
	if err := c.Validate(); err != nil {
		return failCode(driver.CodeInvalidArgument, "open", "", "the sarama configuration is not valid", err)
	}
	t.limit = payloadLimit(c.Producer.MaxMessageBytes)
	return nil
}

func (t *Transport) newNetwork() *network {
	n := newNetwork(t.opts, t.traffic)
	n.guard = t.guard
	t.guard.add(n)
	return n
}

// newQuietNetwork makes one that nobody watches: what comes over it says nothing of the
// transport's own connection.
func (t *Transport) newQuietNetwork() *network {
	return newNetwork(t.opts, &traffic{lost: func() {}})
}

// addresses returns every broker known, so that a cluster whose first brokers are gone
// is still found.
func (t *Transport) addresses() []string {
	addrs := slices.Clone(t.seeds)
	for _, b := range t.meta.brokers() {
		if !slices.Contains(addrs, b.Addr()) {
			addrs = append(addrs, b.Addr())
		}
	}
	return addrs
}

// resetAll ends what waits for an answer of a broker that is known to be gone.
func (t *Transport) resetAll() {
	t.pinger.net.reset()
	t.meta.reset()
	t.producer.reset()
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.sessions {
		s.reset()
	}
}

// Capabilities says what Kafka can do.
func (t *Transport) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Name: transportName, Ordered: true, Keys: true, HeaderOrder: t.wire.keepsOrder(), Partitions: true, Groups: true, Replay: true,
		Redelivery: true, CrossProcess: true, Durable: true, Topics: true,
		CommitInterval: 100 * time.Millisecond, MaxMessageBytes: t.limit,
	}
}

// Publish implements [driver.Transport].
func (t *Transport) Publish(batch []driver.Outgoing) {
	t.producer.publish(batch)
}

// Stats counts what a transport has done since it was made.
type Stats struct {
	// ProduceRequests is how many produce requests were sent, those that were repeated
	// included. Records in a request are what makes publishing fast or slow: compare it
	// with Produced.
	ProduceRequests uint64
	// Produced is how many records brokers have acknowledged.
	Produced uint64
}

// Stats returns the counts as they are now.
func (t *Transport) Stats() Stats {
	return Stats{ProduceRequests: t.traffic.requests.Load(), Produced: t.traffic.produced.Load()}
}

// Subscribe implements [driver.Transport].
func (t *Transport) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	if ctx.Err() != nil {
		return nil, canceled(ctx, "subscribe", s.Topic)
	}
	var reason string
	switch {
	case s.Topic == "":
		reason = "the topic is empty"
	case s.Group != "" && s.Partitions != nil:
		reason = "a subscription with a group can't choose its partitions"
	case s.Start.Kind == driver.StartAtOffset && s.Start.Offset < 0:
		reason = "the start offset is negative"
	case s.Start.Kind == driver.StartAtTime && s.Start.Time.IsZero():
		reason = "the start time is zero"
	case slices.ContainsFunc(s.Partitions, func(p int32) bool { return p < 0 }):
		reason = "a partition is negative"
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
	var made session
	if s.Group != "" {
		g := newGroupSession(t, s)
		if err := t.enlist(g); err != nil {
			g.stop()
			return nil, err
		}
		made = g
	} else {
		made = newReaderSession(t, s)
	}
	t.sessions[made] = struct{}{}
	t.tasks.start(func() {
		made.run()
		t.mu.Lock()
		delete(t.sessions, made)
		t.mu.Unlock()
	})
	return made, nil
}

// enlist gives a static member a number that no other has. t.mu is held.
func (t *Transport) enlist(g *groupSession) error {
	if t.opts.consuming.instance == "" {
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
	return g.static(t.opts.consuming.instance, number)
}

// Ready implements [driver.Transport].
func (t *Transport) Ready(ctx context.Context) error {
	select {
	case <-t.closed:
		return closedError("ready", "")
	default:
	}
	return t.monitor.ready(ctx, "ready", "")
}

// Ping asks a broker for a sign of life, on a connection that serves nothing else.
func (t *Transport) Ping(ctx context.Context) error {
	err := t.pingNow(ctx)
	switch {
	case err == nil:
		return nil
	case t.ctx.Err() != nil:
		return closedError("ping", "")
	case refused(err):
		return fail("ping", "", err)
	default:
		t.monitor.kick() // let it come to its own verdict
		return failCode(driver.CodeUnavailable, "ping", "", "no broker answered", err)
	}
}

func (t *Transport) pingNow(ctx context.Context) error {
	err := t.await(ctx, t.pinger.roundTrip)
	if err != nil && ctx.Err() != nil && context.Cause(ctx) == context.DeadlineExceeded {
		// whatever it waits for does not answer: the next one starts afresh
		t.pinger.net.reset()
	}
	return err
}

// Observe implements [driver.Transport].
func (t *Transport) Observe(observe func(driver.Connection)) { t.monitor.watch(observe) }

// await runs what takes no context on a goroutine of the transport, and returns its
// error, or ctx's when that ends first.
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
			return failCode(driver.ContextCode(ctx.Err()), "close", "", "another call is still closing", ctx.Err())
		}
	}
}

func (t *Transport) shutdown(ctx context.Context) error {
	t.monitor.silence()
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
	t.pinger.net.cut()
	t.meta.close()
	if !t.tasks.wait(lingering) {
		t.opts.logger.Warn("goroutines of sarama outlive the transport")
	}
	t.pinger.close()
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return failCode(driver.ContextCode(ctx.Err()), "close", "", "not everything was flushed", ctx.Err())
	}
	return fail("close", "", err)
}

// lingering bounds the wait for what has been cut from the network already.
const lingering = 3 * time.Second
