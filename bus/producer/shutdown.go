package producer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

const (
	// closeTimeout bounds Close.
	closeTimeout = 10 * time.Second
	// stopTimeout bounds the wait for a transport that does not return from PublishAsync
	// after its context has ended.
	stopTimeout = time.Second
)

// flush is a call of Flush that waits for the reports of all items up to upTo.
type flush struct {
	upTo uint64 // seq of the last item
	left int
	done chan struct{} // closed when left is 0
}

// Flush waits until every message accepted before the call has its report. It returns nil
// then, even if messages failed. If ctx ends first, it returns an error with the number of
// messages that have no report yet. The producer continues to send those messages.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	f := &flush{upTo: p.seq, left: p.outstanding, done: make(chan struct{})}
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
	if f.left == 0 { // if both channels are ready, select picks one at random
		return nil
	}
	p.flushes = slices.DeleteFunc(p.flushes, func(o *flush) bool { return o == f })
	return &bus.Error{Code: driver.ContextCode(ctx.Err()), Op: "flush the producer", Topic: p.topic,
		Reason: fmt.Sprintf("messages without a report: %d", f.left), Err: ctx.Err()}
}

// flushed counts the report of item seq in each flush that waits for it, and completes the
// flushes that have all their reports. It must be called with mu held.
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

// Close is Shutdown with a limit of 10 seconds.
func (p *Producer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return p.Shutdown(ctx)
}

// Shutdown stops accepting messages and waits until every accepted message has its report.
//
// If ctx ends first, Shutdown makes the remaining reports itself, and returns an error with
// the number of these messages. Their reports have bus.CodeClosed if the message was not
// sent, and bus.CodeOutcomeUnknown if the log may have it. Shutdown does not close the bus.
// Later calls wait for the first one and return its result, or an error when their own
// context ends.
func (p *Producer) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	first := !p.closing
	p.closing = true
	p.signal()
	p.mu.Unlock()
	if !first {
		select {
		case <-p.closed:
			return p.err
		case <-ctx.Done():
			return p.shutdownError(driver.ContextCode(ctx.Err()), "another Shutdown is still sending queued messages", ctx.Err())
		}
	}
	if p.Flush(ctx) != nil {
		p.err = p.abandon(ctx.Err())
	}
	p.cancel()
	t := time.NewTimer(stopTimeout)
	defer t.Stop()
	select {
	case <-p.ended:
	case <-t.C: // the transport ignores its context; every message has its report
		p.err = p.shutdownError(bus.CodeInternal, "the transport does not return from publishing", p.err)
	}
	close(p.closed)
	return p.err
}

// abandon reports every item that has no report.
func (p *Producer) abandon(cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var unsent, unknown int
	rest := slices.Clone(p.returned)
	for e := p.queue.Front(); e != nil; e = e.Next() {
		rest = append(rest, e.Value.(*item))
	}
	for _, it := range rest {
		if it.state != reported {
			unsent++
			p.finish(it, it.failure(bus.CodeClosed, "the producer was shut down before the broker was available again; nothing was sent", cause))
		}
	}
	for it := range p.inFlight {
		if it.state != reported {
			unknown++
			p.finish(it, it.failure(bus.CodeOutcomeUnknown, "the producer was shut down before the transport reported the outcome: the log may or may not have the message", cause))
		}
	}
	if unsent+unknown == 0 {
		return nil
	}
	return p.shutdownError(driver.ContextCode(cause), fmt.Sprintf("messages not sent: %d, with unknown outcome: %d; see their reports", unsent, unknown), cause)
}

func (p *Producer) shutdownError(code bus.Code, reason string, cause error) error {
	return &bus.Error{Code: code, Op: "shut down the producer", Topic: p.topic, Reason: reason, Err: cause}
}
