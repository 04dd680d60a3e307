package producer

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// Producer publishes to one topic. All methods are safe for concurrent use.
//
// Senders put items into the queue. One goroutine, the pump, hands them to the bus in
// their order; outcomes come back on the transport's goroutines. When one is to be
// sent again nothing more is handed over until every outcome is there; then those
// that failed go back to the front of the queue.
type Producer struct {
	bus   *bus.Bus
	topic string
	cfg   config

	// life ends with Close: the pump, and whatever it waits for.
	life   context.Context
	end    context.CancelFunc
	pumped chan struct{} // closed when the pump has ended
	work   chan struct{} // holds one token when there may be something for the pump
	closed chan struct{} // closed when the first Close is done
	err    error         // of the first Close; set before closed is closed

	mu      sync.Mutex
	closing bool
	seq     uint64
	queue   *list.List // of *item, by seq
	out     map[*item]struct{}
	failed  []*item // given back by the transport
	lanes   map[laneKey]lane
	away    bool          // the next message waits for the broker
	rested  bool          // it has waited, and is tried
	tries   int           // in vain, since the last success
	held    int           // items without a report
	bytes   int           // theirs
	room    chan struct{} // closed when held or closing has changed; nil when nobody waits
	flushes []*flush
	stats   Stats
}

// lane is a key, as long as one of its messages is handed over or has failed.
type lane struct {
	open int
	last uint64 // seq of the latest that the log has, or may have
}

// New makes a producer for a topic of b. It does not wait for a broker, nor ask
// whether the topic exists: sending tells. Close it before the bus.
func New(b *bus.Bus, topic string, opts ...Option) (*Producer, error) {
	switch {
	case b == nil:
		return nil, invalid("the bus is nil")
	case topic == "":
		return nil, invalid("the topic's name is empty")
	}
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	p := &Producer{bus: b, topic: topic, cfg: cfg, pumped: make(chan struct{}), work: make(chan struct{}, 1), closed: make(chan struct{}),
		queue: list.New(), out: map[*item]struct{}{}, lanes: map[laneKey]lane{}}
	p.life, p.end = context.WithCancel(context.Background())
	go p.pump() // Close waits for it
	return p, nil
}

// Topic returns the topic it publishes to.
func (p *Producer) Topic() string { return p.topic }

// Send sends a message and waits for its report, whose Err is the error. It returns
// when ctx ends at the latest: with bus.CodeCanceled or bus.CodeDeadlineExceeded when nothing
// was sent, with bus.CodeOutcomeUnknown when the message may be in the log; then it must
// still not be changed, as the transport may go on reading it. Otherwise the message
// is the caller's again.
func (p *Producer) Send(ctx context.Context, m *message.Message) (Report, error) {
	it, err := p.accept(ctx, m, true)
	if err != nil {
		return Report{Topic: p.topic, Partition: -1, Offset: -1, Err: err}, err
	}
	<-it.done // with ctx at the latest: see expire
	return it.report, it.report.Err
}

// SendAsync accepts a message and returns a receipt for it, or says why it does not.
// It waits for nothing but room, unless the producer has a Buffer: then not even for
// that. The message must not be changed until its report is there.
func (p *Producer) SendAsync(ctx context.Context, m *message.Message) (*Receipt, error) {
	it, err := p.accept(ctx, m, false)
	if err != nil {
		return nil, err
	}
	return &Receipt{it}, nil
}

// accept puts the message into the queue once there is room.
func (p *Producer) accept(ctx context.Context, m *message.Message, waited bool) (it *item, err error) {
	defer func() {
		if err != nil {
			p.mu.Lock()
			p.stats.Refused++
			p.mu.Unlock()
		}
	}()
	if m == nil {
		return nil, fault(bus.CodeInvalidArgument, p.topic, "the message is nil", nil)
	}
	it = &item{topic: p.topic, lane: laneOf(m), size: size(m), msg: m, waited: waited, done: make(chan struct{})}
	if it.size > p.cfg.bytes {
		return nil, fault(bus.CodeTooLarge, p.topic, fmt.Sprintf("the message has %d bytes, all that may wait are %d", it.size, p.cfg.bytes), nil)
	}
	it.ctx.Context, it.ctx.life = ctx, p.life
	if _, ok := ctx.Deadline(); !ok && p.cfg.timeout > 0 {
		it.ctx.deadline = time.Now().Add(p.cfg.timeout)
	}
	if err := p.admit(it); err != nil {
		it.ctx.release()
		return nil, err
	}
	p.wake()
	return it, nil
}

// admit waits for room and puts it into the queue.
func (p *Producer) admit(it *item) error {
	for {
		if p.cfg.mode == failFast {
			if err := p.down(); err != nil {
				return err
			}
		}
		p.mu.Lock()
		switch {
		case p.closing:
			p.mu.Unlock()
			return fault(bus.CodeClosed, p.topic, "the producer is closed", nil)
		case it.ctx.Err() != nil:
			p.mu.Unlock()
			return fault(driver.ContextCode(it.ctx.Err()), p.topic, "nothing was sent", it.ctx.Err())
		case p.held < p.cfg.messages && p.bytes+it.size <= p.cfg.bytes:
			p.enqueue(it)
			p.mu.Unlock()
			return nil
		case p.cfg.mode == buffer:
			held, bytes := p.held, p.bytes
			p.mu.Unlock()
			return fault(bus.CodeResourceExhausted, p.topic, fmt.Sprintf("the buffer is full: %d messages, %d bytes", held, bytes), nil)
		}
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		p.mu.Unlock()
		select {
		case <-room:
		case <-it.ctx.Done():
		}
	}
}

// enqueue is called with mu held.
func (p *Producer) enqueue(it *item) {
	p.seq++
	it.seq = p.seq
	it.element = p.queue.PushBack(it)
	p.held++
	p.bytes += it.size
	p.stats.Accepted++
	if it.ctx.Context.Done() != nil {
		it.stop = context.AfterFunc(it.ctx.Context, func() { p.expire(it, it.ctx.Context.Err()) })
	}
	if d := it.ctx.deadline; !d.IsZero() {
		it.timer = time.AfterFunc(time.Until(d), func() { p.expire(it, context.DeadlineExceeded) })
	}
}

// down says why nothing can be sent now, as far as that is known.
func (p *Producer) down() error {
	c := p.bus.Connection()
	switch c.State {
	case bus.Disconnected:
		return fault(bus.CodeUnavailable, p.topic, "the broker is away; nothing was sent", c.Cause)
	case bus.Refused:
		return fault(bus.CodeOf(c.Cause), p.topic, "the broker refuses us; nothing was sent", c.Cause)
	default:
		return nil
	}
}

// expire is called when the item's context has ended.
func (p *Producer) expire(it *item, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	it.expired = true
	switch {
	case it.state == queued, it.state == failed:
		p.tell(it, it.failure(driver.ContextCode(cause), "nothing was sent", cause))
	case it.state == handed && it.waited:
		p.tell(it, it.failure(bus.CodeOutcomeUnknown, "the message was handed over and the wait for its outcome ended: it may or may not be in the log", cause))
	}
}

// tell gives the item its report. mu is held, and the item has none yet.
func (p *Producer) tell(it *item, r Report) {
	if it.state == queued {
		p.queue.Remove(it.element)
	}
	if it.state != handed { // then outcome does
		it.ctx.release()
	}
	it.state, it.report = reported, r
	switch {
	case r.Err == nil:
		p.stats.Sent++
	case r.Code() == bus.CodeOutcomeUnknown:
		p.stats.Unknown++
	default:
		p.stats.Failed++
	}
	if it.stop != nil {
		it.stop()
	}
	if it.timer != nil {
		it.timer.Stop()
	}
	p.held--
	p.bytes -= it.size
	p.makeRoom()
	close(it.done)
	p.flushed(it.seq) // whoever flushes finds the report
}

// makeRoom lets those who wait for room look again. mu is held.
func (p *Producer) makeRoom() {
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
}

func (p *Producer) wake() {
	select {
	case p.work <- struct{}{}:
	default:
	}
}
