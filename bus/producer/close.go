package producer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// flush waits for the reports of the items up to one.
type flush struct {
	upTo uint64
	left int
	done chan struct{}
}

// Flush waits until every message that was accepted before has its report, and
// returns nil then, whatever the reports say. When ctx ends first it says how many are
// left; they are sent all the same.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	f := &flush{upTo: p.seq, left: p.held, done: make(chan struct{})}
	if f.left == 0 {
		p.mu.Unlock()
		return nil
	}
	p.flushes = append(p.flushes, f)
	p.mu.Unlock()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.left == 0 { // both: whatever select picked
		return nil
	}
	p.flushes = slices.DeleteFunc(p.flushes, func(o *flush) bool { return o == f })
	return &bus.Error{Code: driver.ContextCode(ctx.Err()), Op: "flush", Topic: p.topic, Reason: fmt.Sprintf("%d messages have no outcome yet", f.left), Err: ctx.Err()}
}

// flushed counts a report. mu is held.
func (p *Producer) flushed(seq uint64) {
	left := p.flushes[:0]
	for _, f := range p.flushes {
		if seq <= f.upTo {
			f.left--
		}
		if f.left == 0 {
			close(f.done)
		} else {
			left = append(left, f)
		}
	}
	clear(p.flushes[len(left):])
	p.flushes = left
}

// cutOff is how long Close waits for a transport that was told to give up.
const cutOff = time.Second

// Close accepts nothing more, and waits until every message that was accepted has its
// report. When ctx ends first those that are left are reported: with bus.CodeClosed what
// was not sent, with bus.CodeOutcomeUnknown what may have been; Close then fails and says
// how many. It does not close the bus. It is idempotent: later calls wait for the first
// and return its result, or their context's error.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	first := !p.closing
	p.closing = true
	p.makeRoom()
	p.mu.Unlock()
	if !first {
		select {
		case <-p.closed:
			return p.err
		case <-ctx.Done():
			return &bus.Error{Code: driver.ContextCode(ctx.Err()), Op: "close the producer", Topic: p.topic, Reason: "another Close is still sending what is left", Err: ctx.Err()}
		}
	}
	if p.Flush(ctx) != nil {
		p.err = p.giveUp(ctx.Err())
	}
	p.end()
	t := time.NewTimer(cutOff)
	defer t.Stop()
	select {
	case <-p.pumped:
	case <-t.C: // the transport breaks its promise; every message has its report
		p.err = &bus.Error{Code: bus.CodeInternal, Op: "close the producer", Topic: p.topic, Reason: "the transport does not return from publishing", Err: p.err}
	}
	close(p.closed)
	return p.err
}

// giveUp reports what is left.
func (p *Producer) giveUp(cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var unsent, unknown int
	untold := slices.Clone(p.failed)
	for e := p.queue.Front(); e != nil; e = e.Next() {
		untold = append(untold, e.Value.(*item))
	}
	for _, it := range untold {
		if it.state != reported {
			unsent++
			p.tell(it, it.failure(bus.CodeClosed, "the producer was closed before the broker was back; nothing was sent", cause))
		}
	}
	for it := range p.out {
		if it.state != reported {
			unknown++
			p.tell(it, it.failure(bus.CodeOutcomeUnknown, "the producer was closed before the outcome was known: it may or may not be in the log", cause))
		}
	}
	if unsent+unknown == 0 {
		return nil
	}
	return &bus.Error{Code: driver.ContextCode(cause), Op: "close the producer", Topic: p.topic,
		Reason: fmt.Sprintf("%d messages were not sent, of %d the outcome is unknown; their reports say so", unsent, unknown), Err: cause}
}
