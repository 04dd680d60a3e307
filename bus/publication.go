package bus

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/internal/lazy"
)

// publication collects the outcomes of one Publish. The bus reuses its memory if no other
// goroutine can have a reference to it: the transport has completed every message, and nothing
// has called Done of its contexts.
type publication struct {
	bus       *Bus
	topic     string
	hooks     *delivery.Hooks
	begun     time.Time
	msgs      []*message.Message // for hooks; empty without any
	batch     []driver.Outgoing
	headers   []Header // of the batch
	keys      []byte   // of the batch
	own       lazy.Context
	deadlines []*lazy.Context // the first is own; consecutive messages with the same context share one

	mu      sync.Mutex
	results []result
	left    int
	failed  bool
	kept    bool          // another goroutine may have a reference: the memory must not be reused
	waiting bool          // the caller waits for done
	done    chan struct{} // gets a token when left is 0 and the caller waits

	// Guarded by expiry.mu: the place in the list of publications that wait, and the time at which
	// the delivery time-out of p has passed.
	before, after *publication
	listed        bool
	expires       time.Time
}

type result struct {
	Outcome
	set bool
}

// A publication is not reused if its slices have a larger capacity than these.
const (
	maxReused        = 1024
	maxReusedHeaders = 16 << 10
	maxReusedKeys    = 64 << 10
)

func (b *Bus) newPublication(topic string, msgs []*message.Message) *publication {
	n := len(msgs)
	p, ok := b.publications.Get().(*publication)
	if !ok {
		p = &publication{bus: b, done: make(chan struct{}, 1)}
	}
	p.topic, p.hooks, p.left = topic, b.hooks.Load(), n
	if len(p.hooks.Publish) > 0 {
		p.begun = time.Now()
		p.msgs = append(p.msgs, msgs...)
	}
	p.results = slices.Grow(p.results, n)[:n]
	p.batch = slices.Grow(p.batch, n)
	return p
}

// end returns the error of Publish, and puts p into the pool if it can be reused. It must be
// called after every message has an outcome: outcomes do not change any more.
func (p *publication) end() error {
	p.mu.Lock()
	var err error
	if p.failed {
		e := &PublishError{Topic: p.topic, Outcomes: make([]Outcome, len(p.results))}
		for i, r := range p.results {
			e.Outcomes[i] = r.Outcome
		}
		err = e
	}
	// After a failure the client library of a transport may still read the message.
	again := !p.kept && !p.failed && cap(p.batch) <= maxReused && cap(p.headers) <= maxReusedHeaders && cap(p.keys) <= maxReusedKeys
	p.mu.Unlock()
	for _, d := range p.deadlines {
		again = d.Release() && again
	}
	if again {
		clear(p.msgs)
		clear(p.batch)
		clear(p.headers)
		clear(p.results)
		clear(p.deadlines)
		p.msgs, p.batch, p.headers, p.keys = p.msgs[:0], p.batch[:0], p.headers[:0], p.keys[:0]
		p.results, p.deadlines = p.results[:0], p.deadlines[:0]
		p.own.Context = nil
		p.waiting = false
		p.bus.publications.Put(p)
	}
	return err
}

// bounded returns the context of a message, bounded by the delivery time-out. Consecutive
// messages with the same context share it.
func (p *publication) bounded(ctx context.Context) *lazy.Context {
	d := &p.own
	if n := len(p.deadlines); n > 0 {
		if last := p.deadlines[n-1]; last.Context == ctx {
			return last
		}
		d = &lazy.Context{}
	}
	d.Bound(ctx, p.bus.cfg.deliveryTimeout)
	p.deadlines = append(p.deadlines, d)
	return d
}

// Published implements driver.Sink. An outcome that arrives after the caller of Publish got
// CodeOutcomeUnknown goes to the hooks only.
func (p *publication) Published(o *driver.Outgoing, r Outcome) {
	if len(p.msgs) > 0 {
		p.hooks.OnPublish(hook.PublishEvent{Transport: p.bus.caps.Name, Topic: p.topic, Message: p.msgs[o.Index], Outcome: r, Duration: time.Since(p.begun)})
	}
	p.mu.Lock()
	last := p.set(o.Index, r)
	p.mu.Unlock()
	if last {
		p.done <- struct{}{}
	}
}

// set records an outcome, unless the message has one already. It returns true if this was the
// last outcome and Publish waits for it: the caller of set must then send a token to done. p
// cannot be reused before Publish has received the token. The caller of set holds p.mu.
func (p *publication) set(i int, r Outcome) (last bool) {
	if p.results[i].set {
		return false
	}
	p.results[i] = result{r, true}
	p.failed = p.failed || r.Err != nil
	p.left--
	return p.left == 0 && p.waiting
}

// keep prevents p from being reused, because another goroutine may still hold a reference.
func (p *publication) keep() {
	p.mu.Lock()
	p.kept = true
	p.mu.Unlock()
}

// wait returns when every message has an outcome. If the context of a message ends first, wait
// gives the message an outcome with CodeOutcomeUnknown.
func (p *publication) wait() {
	p.mu.Lock()
	if p.left == 0 {
		p.mu.Unlock()
		return // the transport completed all messages before its Publish returned: no timer is needed
	}
	p.waiting = true
	d := p.deadlines[0]
	p.kept = len(p.deadlines) > 1 || d.Started() // the function of AfterFunc may run after wait returns
	p.mu.Unlock()
	if p.kept {
		for _, d := range p.deadlines {
			defer context.AfterFunc(d.Start(), func() { p.giveUp(d, d.Err()) })()
		}
		<-p.done
		return
	}
	if d.Timeout() > 0 {
		p.bus.expiry.add(p)
		defer p.bus.expiry.remove(p)
	}
	ended := d.Context.Done()
	if ended == nil {
		<-p.done
		return
	}
	select {
	case <-p.done:
	case <-ended:
		p.giveUp(d, d.Context.Err())
		<-p.done
	}
}

// giveUp sets the outcome CodeOutcomeUnknown for the messages with this context, which has ended.
// At the same time the transport may find that it sent nothing. CodeOutcomeUnknown is correct even
// then.
func (p *publication) giveUp(ctx *lazy.Context, cause error) {
	err := &Error{Code: CodeOutcomeUnknown, Op: "publish", Transport: p.bus.caps.Name, Topic: p.topic,
		Reason: "the context ended after the message was passed to the transport: the log may or may not have it", Err: cause}
	last := false
	p.mu.Lock()
	p.kept = true // the transport will still complete messages
	for i := range p.batch {
		if p.batch[i].Context == ctx {
			last = p.set(p.batch[i].Index, driver.Failed(err)) || last
		}
	}
	p.mu.Unlock()
	if last {
		p.done <- struct{}{}
	}
}
