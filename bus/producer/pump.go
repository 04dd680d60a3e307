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

// step is what the pump does next.
type step uint8

const (
	idle  step = iota // until there is work
	rest              // until the broker is there
	hand              // an item over
	again             // look again
)

// pump hands messages over until life ends.
func (p *Producer) pump() {
	defer close(p.pumped)
	for p.life.Err() == nil {
		switch it, next := p.next(); next {
		case idle:
			select {
			case <-p.work:
			case <-p.life.Done():
			}
		case rest:
			p.rest()
		case hand:
			p.hand(it)
		}
	}
}

// next says what is to be done, and takes the item to be handed over from the queue.
func (p *Producer) next() (*item, step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	front := p.queue.Front()
	if front == nil || len(p.failed) > 0 {
		return nil, idle
	}
	it := front.Value.(*item)
	down := p.down() // now that it is there: what was before it came is not about it
	switch {
	case down != nil && p.cfg.mode == failFast:
		p.tell(it, Report{Topic: p.topic, Partition: -1, Offset: -1, Err: down})
		return nil, again
	case p.away, bus.CodeOf(down) == bus.CodeUnavailable && !p.rested:
		return nil, rest
	}
	p.rested = false
	p.queue.Remove(front)
	it.state = handed
	p.out[it] = struct{}{}
	if it.lane != (laneKey{}) {
		l := p.lanes[it.lane]
		l.open++
		p.lanes[it.lane] = l
	}
	return it, hand
}

// rest waits until the broker is there, as far as the transport knows, and longer the
// more often that was in vain. Then one message is to be tried, whatever the state of
// the connection: it may be told what Ready is not.
func (p *Producer) rest() {
	_ = p.bus.Ready(p.life) // what it fails with, the next message does too
	p.mu.Lock()
	p.tries++
	pause := min(minPause<<min(p.tries-1, 10), maxPause)
	p.mu.Unlock()
	t := time.NewTimer(pause/2 + rand.N(pause/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.life.Done():
	}
	p.mu.Lock()
	p.away, p.rested = false, true
	p.mu.Unlock()
}

// hand gives the message to the bus, and waits as long as the transport has no room.
func (p *Producer) hand(it *item) {
	p.bus.PublishAsync(&it.ctx, p.topic, it.msg, func(o bus.Outcome) { p.outcome(it, o) })
}

// outcome is the transport's, on any goroutine.
func (p *Producer) outcome(it *item, o bus.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.out, it)
	code := bus.CodeOf(o.Err)
	switch {
	case o.Err != nil && code == bus.CodeUnavailable && p.cfg.mode != failFast && it.state == handed && !it.expired && p.life.Err() == nil:
		it.state = failed
		p.failed = append(p.failed, it)
		p.stats.Retried++
	default:
		if o.Err == nil || code == bus.CodeOutcomeUnknown {
			p.tries = 0
			if l, ok := p.lanes[it.lane]; ok {
				l.last = max(l.last, it.seq)
				p.lanes[it.lane] = l
			}
		}
		p.leave(it)
		it.ctx.release()
		if it.state != reported {
			p.tell(it, Report{Topic: p.topic, Partition: o.Partition, Offset: o.Offset, Err: o.Err})
		}
	}
	if len(p.out) == 0 && len(p.failed) > 0 {
		p.settle()
	}
	p.wake()
}

// leave takes the item out of its lane. mu is held.
func (p *Producer) leave(it *item) {
	l, ok := p.lanes[it.lane]
	if !ok {
		return
	}
	if l.open--; l.open == 0 {
		delete(p.lanes, it.lane)
	} else {
		p.lanes[it.lane] = l
	}
}

// settle is called when the transport has nothing any more: what it gave back goes to
// the front of the queue, in its order, unless a later message of its lane was faster.
// mu is held.
func (p *Producer) settle() {
	slices.SortFunc(p.failed, func(a, b *item) int { return cmp.Compare(b.seq, a.seq) })
	for _, it := range p.failed { // the last one first
		overtaken := p.lanes[it.lane].last > it.seq
		switch {
		case it.state == reported:
		case overtaken:
			p.tell(it, it.failure(bus.CodeUnavailable, "the broker was away, and a later message of its key is in the log already: it was not sent, to keep the order", nil))
		default:
			it.state, it.element = queued, p.queue.PushFront(it)
			p.away = true
		}
	}
	for _, it := range p.failed {
		p.leave(it)
	}
	p.failed = nil
}
