package kafka

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// producer hands messages to sarama, through one line at a time.
type producer struct {
	t    *Transport
	stop context.Context // ends when closing begins: nobody waits for room any more
	halt context.CancelFunc

	mu      sync.Mutex
	line    *line
	making  chan struct{} // closed when the attempt to make a line has ended; nil when there is none
	failed  error         // of the last attempt
	closed  bool
	severed bool // no client gets an answer any more
	// clients are those of all lines that have not ended: the present one, one that is
	// being made and one that is being finished.
	clients map[*client]struct{}
}

// line is one sarama producer from its making to its end. One that has seen an outage
// is replaced: sarama's circuit breakers keep refusing for ten seconds after a broker
// has come back. The next line begins when the last one has told every outcome, which
// keeps the order of what went before and what comes after.
type line struct {
	client   *client
	sarama   sarama.AsyncProducer
	spoilt   atomic.Bool
	deserted atomic.Bool   // no broker at all could be reached
	done     chan struct{} // closed when sarama has told every outcome

	topics  sync.Map       // names of topics known to exist
	pending sync.WaitGroup // messages that sarama has; added to while handing only

	// under producer.mu
	handing int           // calls that may send on the input
	idle    chan struct{} // made when waiting for handing to be 0
}

func newProducer(t *Transport) *producer {
	p := &producer{t: t, clients: make(map[*client]struct{})}
	p.stop, p.halt = context.WithCancel(context.Background())
	return p
}

// publish hands a batch over, and completes what can't be with why not.
func (p *producer) publish(batch []driver.Outgoing) {
	var topic string
	var with *together
	memory := newSpace(batch)
	defer memory.leave()
	for i := range batch {
		out := &batch[i]
		if len(batch) > 1 && (with == nil || out.Topic != topic) {
			topic, with = out.Topic, &together{}
		}
		item := &memory.items[i]
		item.out, item.memory = out, memory
		if item.with = with; with == nil {
			item.with = &item.alone
		}
		if err := p.hand(item, memory); err != nil {
			out.Complete(driver.Failed(err))
			memory.leave()
		}
	}
}

// hand gives item to sarama, or returns why not. Once sarama has it, item and what it
// was made of are not the caller's any more.
func (p *producer) hand(item *pending, memory *space) error {
	out := item.out
	ctx := out.Context
	if ctx.Err() != nil {
		return canceled(ctx, "publish", out.Topic)
	}
	if out.Topic == "" {
		return failCode(driver.CodeInvalidArgument, "publish", "", "the topic is empty", nil)
	}
	item.rec.Metadata = item
	item.rec.Offset = -1 // stays so when the broker only says that it had the message already
	if err := p.t.wire.encode(item, memory); err != nil {
		return err
	}
	l, err := p.acquire(ctx, out.Topic)
	if err != nil {
		return err
	}
	defer p.release(l)
	if limit := l.client.Config().Producer.MaxMessageBytes; item.rec.ByteSize(2) > limit {
		return failCode(driver.CodeTooLarge, "publish", out.Topic, "the record is larger than the producer's limit; nothing was sent", nil)
	}
	if err := p.know(ctx, l, out.Topic); err != nil {
		return err
	}
	item.line = l
	l.pending.Add(1)
	item.cold, item.opened = l.client.net.live.Load() == 0, l.client.net.opened.Load()
	// sarama takes one message at a time. Its goroutine is about to come for the next:
	// only who has to wait longer pays for a context's timer. In a batch they share it.
	for tries := 1; ; tries++ {
		select {
		case l.sarama.Input() <- &item.rec:
			return nil
		default:
		}
		if tries == 4 || item.with != &item.alone {
			break
		}
		runtime.Gosched()
	}
	select {
	case l.sarama.Input() <- &item.rec:
		return nil
	case <-ctx.Done():
		l.pending.Done()
		return canceled(ctx, "publish", out.Topic)
	case <-p.stop.Done():
		l.pending.Done()
		return closedError("publish", out.Topic)
	}
}

// know makes sure that the topic exists. sarama would find out too, but counts it as
// an outage.
func (p *producer) know(ctx context.Context, l *line, topic string) error {
	if _, ok := l.topics.Load(topic); ok {
		return nil
	}
	err := p.t.await(ctx, func() error { return lookup(p.stop, l.client, topic) })
	switch {
	case err == nil:
		l.topics.Store(topic, struct{}{})
		return nil
	case ctx.Err() != nil:
		return canceled(ctx, "publish", topic)
	case p.stop.Err() != nil:
		return closedError("publish", topic)
	default:
		return fail("publish", topic, err)
	}
}

// lookup asks for a topic's metadata, and again for a while when it is not there: the
// brokers of a cluster learn of a new topic one after the other.
func lookup(ctx context.Context, c *client, topic string) error {
	if _, err := c.Partitions(topic); err == nil {
		return nil
	}
	deadline := time.Now().Add(400 * time.Millisecond)
	for {
		_, err := c.Partitions(topic)
		if err == nil || codeOf(err) != driver.CodeNotFound || time.Now().After(deadline) {
			return err
		}
		if sleep(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// acquire returns the line to send on, and counts the caller in until release. While
// there is no connection it waits for room; while a line is being made, which ends, as
// long as ctx lets it.
func (p *producer) acquire(ctx context.Context, topic string) (*line, error) {
	var enough time.Time // to wait for a connection
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, closedError("publish", topic)
		}
		state, changed := p.t.monitor.current()
		if state.State == driver.Connected && p.line != nil && !p.line.spoilt.Load() {
			p.line.handing++
			l := p.line
			p.mu.Unlock()
			return l, nil
		}
		var making chan struct{}
		if state.State == driver.Connected {
			making = p.begin()
		}
		p.mu.Unlock()
		var err error
		switch state.State {
		case driver.Connected:
			enough = time.Time{}
			err = p.await(ctx, topic, making)
		case driver.Refused:
			err = failCode(codeOf(state.Cause), "publish", topic, "", state.Cause)
		default:
			if enough.IsZero() {
				enough = time.Now().Add(p.t.opts.times.Room)
			}
			err = p.awaitConnection(ctx, topic, enough, state, changed)
		}
		if err != nil {
			return nil, err
		}
	}
}

// await waits until the attempt to make a line has ended.
func (p *producer) await(ctx context.Context, topic string, making <-chan struct{}) error {
	select {
	case <-making:
		if err := p.failure(); err != nil {
			return failCode(codeOf(err), "publish", topic, "the producer could not be made; nothing was sent", err)
		}
	case <-p.stop.Done():
	case <-ctx.Done():
		return canceled(ctx, "publish", topic)
	}
	return nil
}

// awaitConnection waits until the connection is not as it was any more.
func (p *producer) awaitConnection(ctx context.Context, topic string, enough time.Time, was driver.Connection, changed <-chan struct{}) error {
	room, cancel := context.WithDeadline(ctx, enough)
	defer cancel()
	select {
	case <-changed:
	case <-p.stop.Done():
	case <-room.Done():
		if ctx.Err() != nil {
			return canceled(ctx, "publish", topic)
		}
		return failCode(driver.CodeUnavailable, "publish", topic, "no broker answers; nothing was sent", was.Cause)
	}
	return nil
}

func (p *producer) release(l *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.handing--
	if l.handing == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

func (p *producer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// begin starts making a line unless that is under way. p.mu is held.
func (p *producer) begin() chan struct{} {
	if p.making != nil {
		return p.making
	}
	made := make(chan struct{})
	p.making = made
	if !p.t.tasks.start(func() { p.replace(made) }) {
		p.making = nil
		p.failed = closedError("publish", "")
		close(made)
	}
	return made
}

// replace ends the present line, if there is one, and makes the next.
func (p *producer) replace(made chan struct{}) {
	p.mu.Lock()
	old := p.line
	p.line = nil
	p.mu.Unlock()
	if old != nil {
		p.finish(old)
	}
	l, err := p.newLine()
	p.mu.Lock()
	p.line, p.failed, p.making = l, p.t.opts.explain(err), nil
	p.mu.Unlock()
	close(made)
}

func (p *producer) newLine() (*line, error) {
	l := &line{done: make(chan struct{})}
	c, err := p.t.newClientWith(func(c *sarama.Config) {
		c.Producer.Retry.BackoffFunc = l.pause(c.Producer.Retry.BackoffFunc, c.Producer.Retry.Backoff)
		c.Producer.Transaction.Retry.BackoffFunc = p.pauseForID(c.Producer.Transaction.Retry.Backoff)
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1 // idempotence needs it
		c.Producer.Partitioner = newPartitioner
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.clients[c] = struct{}{}
	severed := p.severed
	p.mu.Unlock()
	if severed {
		p.let(c)
		return nil, closedError("publish", "")
	}
	sp, err := sarama.NewAsyncProducerFromClient(c)
	if err != nil {
		p.let(c)
		return nil, err
	}
	l.client, l.sarama = c, sp
	var told sync.WaitGroup
	told.Go(func() {
		for rec := range sp.Successes() {
			succeeded(rec)
		}
	})
	told.Go(func() {
		for e := range sp.Errors() {
			p.failedToSend(e)
		}
	})
	p.t.tasks.start(func() {
		told.Wait()
		close(l.done)
	})
	return l, nil
}

// pause returns the pauses between sarama's attempts. It pauses, too, after each message
// that it gives up on as there is no leader: with no broker left a thousand of them would
// keep the line, and all that waits for the next, for a minute.
func (l *line) pause(configured func(retries, most int) time.Duration, fixed time.Duration) func(retries, most int) time.Duration {
	return func(retries, most int) time.Duration {
		switch {
		case l.deserted.Load():
			return time.Millisecond
		case configured != nil:
			return configured(retries, most)
		default:
			return fixed
		}
	}
}

// pauseForID returns the pauses between sarama's attempts to get a producer's id, of which
// it makes fifty whatever becomes of its client.
func (p *producer) pauseForID(configured time.Duration) func(retries, most int) time.Duration {
	return func(int, int) time.Duration {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.severed {
			return time.Millisecond
		}
		return configured
	}
}

// finish waits until no one can send on the line, then until every outcome is told.
// Only then it closes sarama's producer, which would give up on what it is retrying.
func (p *producer) finish(l *line) {
	p.mu.Lock()
	var idle chan struct{}
	if l.handing > 0 {
		idle = make(chan struct{})
		l.idle = idle
	}
	p.mu.Unlock()
	if idle != nil {
		<-idle
	}
	l.pending.Wait()
	l.sarama.AsyncClose()
	<-l.done
	p.let(l.client)
}

// let closes a client and forgets it.
func (p *producer) let(c *client) {
	c.close()
	p.mu.Lock()
	delete(p.clients, c)
	p.mu.Unlock()
}

// reset ends what waits for an answer.
func (p *producer) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.clients {
		c.net.reset()
	}
}

// cut ends every wait for an answer, for good. No client is made any more.
func (p *producer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.severed = true
	for c := range p.clients {
		c.net.cut()
	}
}

// close flushes under ctx. When ctx ends first the lines are cut from their brokers,
// which makes sarama give back what it has.
func (p *producer) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.halt()
	done := make(chan struct{})
	if !p.t.tasks.start(func() { defer close(done); p.drain() }) {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		p.cut()
		<-done
		return ctx.Err()
	}
}

// drain ends the present line, and one that is still being made.
func (p *producer) drain() {
	for {
		p.mu.Lock()
		making, l := p.making, p.line
		p.line = nil
		p.mu.Unlock()
		switch {
		case making != nil:
			<-making
		case l != nil:
			p.finish(l)
		default:
			return
		}
	}
}
