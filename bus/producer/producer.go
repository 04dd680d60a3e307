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
// Send and SendAsync append items to the queue. One goroutine, run, takes them from the
// front and passes them to the bus. The transport reports outcomes on its own goroutines.
// When an item must be sent again, run stops until the transport has reported the outcome
// of every item it holds. Then the returned items go back to the front of the queue.
type Producer struct {
	bus   *bus.Bus
	topic string
	cfg   config

	ctx    context.Context // ends when Shutdown has emptied the queue; then run returns
	cancel context.CancelFunc
	ended  chan struct{} // closed when run has returned
	work   chan struct{} // has one token if run must look at the queue
	closed chan struct{} // closed when the first Shutdown has returned
	err    error         // result of the first Shutdown; set before closed is closed

	mu          sync.Mutex
	closing     bool
	seq         uint64     // number of the latest accepted item
	queue       *list.List // of *item, sorted by seq
	inFlight    map[*item]struct{}
	returned    []*item
	orders      map[orderKey]order
	backOff     bool          // run must wait for the broker before the next item
	retryNow    bool          // run has waited: the next item is sent whatever the connection's state
	failures    int           // waits for the broker since the last success
	outstanding int           // items without a report
	bytes       int           // size of the outstanding items
	changed     chan struct{} // closed when outstanding or closing changes; nil if no sender waits
	flushes     []*flush
	stats       Stats
}

// order is the state of an orderKey. It exists while an item with the orderKey is in flight or
// returned.
type order struct {
	items int    // number of items in flight or returned
	last  uint64 // greatest seq of the items that the log has, or may have
}

// New makes a producer for one topic of b. It does not wait for a broker and does not
// check that the topic exists; Send reports a missing topic. The caller must close the
// producer, and must do so before closing the bus.
func New(b *bus.Bus, topic string, opts ...Option) (*Producer, error) {
	switch {
	case b == nil:
		return nil, invalid("the bus is nil")
	case topic == "":
		return nil, invalid("the name of the topic is empty")
	}
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	p := &Producer{bus: b, topic: topic, cfg: cfg, ended: make(chan struct{}), work: make(chan struct{}, 1), closed: make(chan struct{}),
		queue: list.New(), inFlight: map[*item]struct{}{}, orders: map[orderKey]order{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	go p.run() // Shutdown waits for it
	return p, nil
}

// Topic returns the topic that the producer publishes to.
func (p *Producer) Topic() string { return p.topic }

// Send sends a message and waits for its report. The returned error is the report's Err.
//
// Send returns at the latest when ctx ends. The error code is bus.CodeCanceled or
// bus.CodeDeadlineExceeded if nothing was sent, and bus.CodeOutcomeUnknown if the log may
// have the message. After bus.CodeOutcomeUnknown the message must not be changed, because
// the transport may still read it. In all other cases the caller may reuse it.
func (p *Producer) Send(ctx context.Context, m *message.Message) (Report, error) {
	it, err := p.accept(ctx, m, true)
	if err != nil {
		return failedReport(p.topic, err), err
	}
	<-it.done // expire closes it when ctx ends
	return it.report, it.report.Err
}

// SendAsync accepts a message and returns a receipt for its report. It waits only while
// the limits of WithMaxOutstanding are reached. With the policy Buffer it returns an error
// instead of waiting. After an error the message was not accepted and has no report. An
// accepted message must not be changed until it has its report.
func (p *Producer) SendAsync(ctx context.Context, m *message.Message) (*Receipt, error) {
	it, err := p.accept(ctx, m, false)
	if err != nil {
		return nil, err
	}
	return &Receipt{it}, nil
}

// accept appends the message to the queue once the limits allow it.
func (p *Producer) accept(ctx context.Context, m *message.Message, waiting bool) (it *item, err error) {
	defer func() {
		if err != nil {
			p.mu.Lock()
			p.stats.Rejected++
			p.mu.Unlock()
		}
	}()
	if m == nil {
		return nil, sendError(bus.CodeInvalidArgument, p.topic, "the message is nil", nil)
	}
	it = &item{topic: p.topic, order: orderKeyOf(m), size: sizeOf(m), msg: m, waiting: waiting, done: make(chan struct{})}
	if it.size > p.cfg.maxBytes {
		return nil, sendError(bus.CodeTooLarge, p.topic,
			fmt.Sprintf("the message has %d bytes, more than the %d bytes that WithMaxOutstanding allows for all messages together", it.size, p.cfg.maxBytes), nil)
	}
	it.ctx.Context, it.ctx.producer = ctx, p.ctx
	if _, ok := ctx.Deadline(); !ok && p.cfg.deliveryTimeout > 0 {
		it.ctx.deadline = time.Now().Add(p.cfg.deliveryTimeout)
	}
	if err := p.admit(it); err != nil {
		it.ctx.release()
		return nil, err
	}
	p.wake()
	return it, nil
}

// admit waits until the limits allow one more item, and enqueues it.
func (p *Producer) admit(it *item) error {
	for {
		if p.cfg.policy == FailFast {
			if err := p.connectionError(); err != nil {
				return err
			}
		}
		p.mu.Lock()
		switch {
		case p.closing:
			p.mu.Unlock()
			return sendError(bus.CodeClosed, p.topic, "the producer is closed", nil)
		case it.ctx.Err() != nil:
			p.mu.Unlock()
			return sendError(driver.ContextCode(it.ctx.Err()), p.topic, "nothing was sent", it.ctx.Err())
		case p.outstanding < p.cfg.maxMessages && p.bytes+it.size <= p.cfg.maxBytes:
			p.enqueue(it)
			p.mu.Unlock()
			return nil
		case p.cfg.policy == Buffer:
			messages, bytes := p.outstanding, p.bytes
			p.mu.Unlock()
			return sendError(bus.CodeResourceExhausted, p.topic, fmt.Sprintf("the buffer is full: it holds %d messages, %d bytes", messages, bytes), nil)
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-it.ctx.Done():
		}
	}
}

// enqueue must be called with mu held.
func (p *Producer) enqueue(it *item) {
	p.seq++
	it.seq = p.seq
	it.element = p.queue.PushBack(it)
	p.outstanding++
	p.bytes += it.size
	p.stats.Accepted++
	if it.ctx.Context.Done() != nil {
		it.stop = context.AfterFunc(it.ctx.Context, func() { p.expire(it, it.ctx.Context.Err()) })
	}
	if d := it.ctx.deadline; !d.IsZero() {
		it.timer = time.AfterFunc(time.Until(d), func() { p.expire(it, context.DeadlineExceeded) })
	}
}

// connectionError returns an error while the bus reports that nothing can be sent.
func (p *Producer) connectionError() error {
	c := p.bus.Connection()
	switch c.State {
	case driver.Disconnected:
		return sendError(bus.CodeUnavailable, p.topic, "the broker is unavailable; nothing was sent", c.Cause)
	case driver.Refused:
		return sendError(bus.CodeOf(c.Cause), p.topic, "the broker rejects the credentials; nothing was sent", c.Cause)
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
	case it.state == queued, it.state == returned:
		p.finish(it, it.failure(driver.ContextCode(cause), "nothing was sent", cause))
	case it.state == inFlight && it.waiting:
		p.finish(it, it.failure(bus.CodeOutcomeUnknown,
			"the context ended after the message was passed to the transport: the log may or may not have it", cause))
	}
}

// finish sets the item's report. It must be called with mu held, and once for each item.
func (p *Producer) finish(it *item, r Report) {
	if it.state == queued {
		p.queue.Remove(it.element)
	}
	if it.state != inFlight { // the transport still uses the context; outcome releases it
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
	p.outstanding--
	p.bytes -= it.size
	p.signal()
	close(it.done)
	p.flushed(it.seq) // after done is closed: Flush returns when the reports can be read
}

// signal makes waiting senders check the limits again. It must be called with mu held.
func (p *Producer) signal() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// wake makes run look at the queue.
func (p *Producer) wake() {
	select {
	case p.work <- struct{}{}:
	default:
	}
}
