package producer

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus"
)

const (
	minPause = 20 * time.Millisecond
	maxPause = time.Second
)

// step is the next action of run.
type step uint8

const (
	idle    step = iota // wait for work
	pause               // wait for the broker
	publish             // pass an item to the bus
	again               // call next again
)

// run passes items to the bus until the producer's context ends.
func (p *Producer) run() {
	defer close(p.ended)
	for p.ctx.Err() == nil {
		switch it, step := p.next(); step {
		case idle:
			select {
			case <-p.work:
			case <-p.ctx.Done():
			}
		case pause:
			p.awaitBroker()
		case publish:
			// PublishAsync blocks while the transport has no space for the message.
			p.bus.PublishAsync(&it.ctx, p.topic, it.msg, func(o bus.Outcome) { p.outcome(it, o) })
		}
	}
}

// next decides the next step. For publish it moves the first item from the queue to
// inFlight, and returns it.
func (p *Producer) next() (*item, step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	front := p.queue.Front()
	if front == nil || len(p.returned) > 0 {
		return nil, idle
	}
	it := front.Value.(*item)
	down := p.connectionError() // read after the item was accepted: FailFast must not use an earlier state
	switch {
	case down != nil && p.cfg.policy == FailFast:
		p.finish(it, failedReport(p.topic, down))
		return nil, again
	case p.backOff, bus.CodeOf(down) == bus.CodeUnavailable && !p.retryNow:
		return nil, pause
	}
	p.retryNow = false
	p.queue.Remove(front)
	it.state = inFlight
	p.inFlight[it] = struct{}{}
	if it.order != (orderKey{}) {
		o := p.orders[it.order]
		o.items++
		p.orders[it.order] = o
	}
	return it, publish
}

// awaitBroker waits until the transport is ready, and then for a pause. The pause doubles
// with each wait, up to maxPause, until a message is sent. After the pause, run sends one
// item whatever the state of the connection, because a publish can succeed where Ready
// fails.
func (p *Producer) awaitBroker() {
	_ = p.bus.Ready(p.ctx) // if the error persists, the next publish returns it
	p.mu.Lock()
	p.failures++
	d := min(minPause<<min(p.failures-1, 10), maxPause)
	p.mu.Unlock()
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
	p.mu.Lock()
	p.backOff, p.retryNow = false, true
	p.mu.Unlock()
}

// outcome is called by the transport, on any goroutine, once for each item in flight.
func (p *Producer) outcome(it *item, o bus.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.inFlight, it)
	code := bus.CodeOf(o.Err)
	switch {
	case o.Err != nil && code == bus.CodeUnavailable && p.cfg.policy != FailFast && it.state == inFlight && !it.expired && p.ctx.Err() == nil:
		it.state = returned
		p.returned = append(p.returned, it)
		p.stats.Retried++
	default:
		if o.Err == nil || code == bus.CodeOutcomeUnknown {
			p.failures = 0
			if k, ok := p.orders[it.order]; ok {
				k.last = max(k.last, it.seq)
				p.orders[it.order] = k
			}
		}
		p.leaveOrder(it)
		it.ctx.release()
		if it.state != reported {
			p.finish(it, Report{Topic: p.topic, Partition: o.Partition, Offset: o.Offset, Err: o.Err})
		}
	}
	if len(p.inFlight) == 0 && len(p.returned) > 0 {
		p.requeue()
	}
	p.wake()
}

// leaveOrder removes the item from the order of its key. It must be called with mu held.
func (p *Producer) leaveOrder(it *item) {
	o, ok := p.orders[it.order]
	if !ok {
		return
	}
	if o.items--; o.items == 0 {
		delete(p.orders, it.order)
	} else {
		p.orders[it.order] = o
	}
}

// requeue puts the returned items back at the front of the queue, in their order. If the
// log has, or may have, a later message with the same orderKey, the item fails instead. It
// must be called with mu held, when no item is in flight.
func (p *Producer) requeue() {
	slices.SortFunc(p.returned, func(a, b *item) int { return cmp.Compare(b.seq, a.seq) })
	for _, it := range p.returned { // the latest first, because PushFront reverses the order
		overtaken := p.orders[it.order].last > it.seq
		switch {
		case it.state == reported:
		case overtaken:
			p.finish(it, it.failure(bus.CodeUnavailable,
				"the broker was unavailable, and the log already has a later message with the same key: not sent again, to keep the order", nil))
		default:
			it.state, it.element = queued, p.queue.PushFront(it)
			p.backOff = true
		}
	}
	for _, it := range p.returned {
		p.leaveOrder(it)
	}
	p.returned = nil
}
