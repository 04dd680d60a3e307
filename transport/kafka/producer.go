package kafka

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// producer publishes messages through sarama. It uses one asyncProducer at a time and
// replaces that after an outage.
type producer struct {
	t          *Transport
	closing    context.Context // ends when close is called, and with it every wait
	beginClose context.CancelFunc

	mu       sync.Mutex
	current  *asyncProducer
	building chan struct{} // closed when the attempt to build current has ended; nil if none runs
	buildErr error         // of the last attempt
	closed   bool
	aborted  bool // the networks of all clients are closed
	// clients contains the client of every asyncProducer that has not ended: the current
	// one, one that is being built, and one that is being retired.
	clients map[*client]struct{}
}

func newProducer(t *Transport) *producer {
	p := &producer{t: t, clients: make(map[*client]struct{})}
	p.closing, p.beginClose = context.WithCancel(context.Background())
	return p
}

// publish sends the messages of a batch. It completes those that it cannot send.
func (p *producer) publish(batch []driver.Outgoing) {
	var topic string
	var affinity *batchAffinity
	buf := newBatchBuffer(batch)
	defer buf.release()
	for i := range batch {
		out := &batch[i]
		if len(batch) > 1 && (affinity == nil || out.Topic != topic) {
			topic, affinity = out.Topic, &batchAffinity{}
		}
		msg := &buf.messages[i]
		msg.out, msg.buf = out, buf
		if msg.affinity = affinity; affinity == nil {
			msg.affinity = &msg.ownAffinity
		}
		if err := p.send(msg, buf); err != nil {
			out.Complete(driver.Failed(err))
			buf.release()
		}
	}
}

// send gives msg to sarama, or returns an error. After it returns nil, the caller must not
// use msg and the memory that msg refers to.
func (p *producer) send(msg *pendingMessage, buf *batchBuffer) error {
	out := msg.out
	ctx := out.Context
	if ctx.Err() != nil {
		return canceledBeforeSend(ctx, out.Topic)
	}
	if out.Topic == "" {
		return failCode(driver.CodeInvalidArgument, "publish", "", "the topic must not be empty", nil)
	}
	msg.rec.Metadata = msg
	msg.rec.Offset = -1 // sarama does not set it if the broker reports a duplicate without an offset
	if err := p.t.codec.encode(msg, buf); err != nil {
		return err
	}
	a, err := p.acquire(ctx, out.Topic)
	if err != nil {
		return err
	}
	defer p.release(a)
	if limit := a.client.Config().Producer.MaxMessageBytes; msg.rec.ByteSize(2) > limit {
		return failCode(driver.CodeTooLarge, "publish", out.Topic, "the record is larger than WithMaxMessageBytes allows; nothing was sent", nil)
	}
	if err := p.ensureTopic(ctx, a, out.Topic); err != nil {
		return err
	}
	msg.via = a
	a.pending.Add(1)
	msg.noConnection, msg.connsOpened = a.client.net.live.Load() == 0, a.client.net.opened.Load()
	// sarama takes one message at a time, and usually takes the next within a few scheduler
	// rounds. The timer of a context is worth its cost only for a longer wait. The messages
	// of a batch share a context, and so its timer.
	for tries := 1; ; tries++ {
		select {
		case a.sarama.Input() <- &msg.rec:
			return nil
		default:
		}
		if tries == 4 || msg.affinity != &msg.ownAffinity {
			break
		}
		runtime.Gosched()
	}
	select {
	case a.sarama.Input() <- &msg.rec:
		return nil
	case <-ctx.Done():
		a.pending.Done()
		return canceledBeforeSend(ctx, out.Topic)
	case <-p.closing.Done():
		a.pending.Done()
		return closedError("publish", out.Topic)
	}
}

// ensureTopic returns an error unless the topic exists. sarama would treat a missing topic
// as an outage.
func (p *producer) ensureTopic(ctx context.Context, a *asyncProducer, topic string) error {
	if _, ok := a.topics.Load(topic); ok {
		return nil
	}
	err := p.t.await(ctx, func() error { return lookupTopic(p.closing, a.client, topic) })
	switch {
	case err == nil:
		a.topics.Store(topic, struct{}{})
		return nil
	case ctx.Err() != nil:
		return canceledBeforeSend(ctx, topic)
	case p.closing.Err() != nil:
		return closedError("publish", topic)
	default:
		return fail("publish", topic, err)
	}
}

// acquire returns the asyncProducer to send on. The caller must release it. If there is no
// connection, acquire waits for one, for at most Timeouts.PublishWait. If there is a
// connection and an asyncProducer is being built, acquire waits until the build has ended or
// ctx ends.
func (p *producer) acquire(ctx context.Context, topic string) (*asyncProducer, error) {
	var deadline time.Time // of the wait for a connection
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, closedError("publish", topic)
		}
		state, changed := p.t.connection.current()
		if state.State == driver.Connected && p.current != nil && !p.current.unusable.Load() {
			p.current.senders++
			a := p.current
			p.mu.Unlock()
			return a, nil
		}
		var building chan struct{}
		if state.State == driver.Connected {
			building = p.beginBuild()
		}
		p.mu.Unlock()
		var err error
		switch state.State {
		case driver.Connected:
			deadline = time.Time{}
			err = p.awaitBuild(ctx, topic, building, changed)
		case driver.Refused:
			err = failCode(codeOf(state.Cause), "publish", topic, "", state.Cause)
		default:
			if deadline.IsZero() {
				deadline = time.Now().Add(p.t.opts.times.PublishWait)
			}
			err = p.awaitConnection(ctx, topic, deadline, state, changed)
		}
		if err != nil {
			return nil, err
		}
	}
}

// awaitBuild waits until the attempt to build an asyncProducer has ended, or the state of
// the connection changes. Without a connection the attempt can take many seconds.
func (p *producer) awaitBuild(ctx context.Context, topic string, building, changed <-chan struct{}) error {
	select {
	case <-changed:
	case <-building:
		if err := p.lastBuildError(); err != nil {
			return failCode(codeOf(err), "publish", topic, "cannot make a producer; nothing was sent", err)
		}
	case <-p.closing.Done():
	case <-ctx.Done():
		return canceledBeforeSend(ctx, topic)
	}
	return nil
}

// awaitConnection waits until the state of the connection changes.
func (p *producer) awaitConnection(ctx context.Context, topic string, deadline time.Time, state driver.Connection, changed <-chan struct{}) error {
	limited, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	select {
	case <-changed:
	case <-p.closing.Done():
	case <-limited.Done():
		if ctx.Err() != nil {
			return canceledBeforeSend(ctx, topic)
		}
		return failCode(driver.CodeUnavailable, "publish", topic, "no broker answers; nothing was sent", state.Cause)
	}
	return nil
}

// release undoes acquire.
func (p *producer) release(a *asyncProducer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a.senders--
	if a.senders == 0 && a.idle != nil {
		close(a.idle)
		a.idle = nil
	}
}

func (p *producer) lastBuildError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buildErr
}

// reset closes all connections. New ones can be opened.
func (p *producer) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.clients {
		c.net.reset()
	}
}

// abort closes the networks of all clients permanently. No new client is made afterwards.
func (p *producer) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.aborted = true
	for c := range p.clients {
		c.net.close()
	}
}

// close waits until every message has its outcome. If ctx ends first, it closes the
// networks, so that sarama fails the messages that it still has.
func (p *producer) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.beginClose()
	done := make(chan struct{})
	if !p.t.tasks.start(func() { defer close(done); p.drain() }) {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		p.abort()
		<-done
		return ctx.Err()
	}
}

// drain retires the current asyncProducer, and one that is still being built.
func (p *producer) drain() {
	for {
		p.mu.Lock()
		building, a := p.building, p.current
		p.current = nil
		p.mu.Unlock()
		switch {
		case building != nil:
			<-building
		case a != nil:
			p.retire(a)
		default:
			return
		}
	}
}

func canceledBeforeSend(ctx context.Context, topic string) error {
	return canceled(ctx, "publish", topic, "the context ended before the message was sent")
}
