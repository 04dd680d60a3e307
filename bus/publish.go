package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// PublishError is what Publish fails with when messages have different outcomes
// to tell. It is immutable.
type PublishError struct {
	Topic string
	// Outcomes are those of every message, in the order of the call. The Err of those
	// that the log has is nil.
	Outcomes []Outcome
}

// Error names how many failed and the first one's error.
func (e *PublishError) Error() string {
	var first error
	failed, unknown := 0, 0
	for _, o := range e.Outcomes {
		if o.Err == nil {
			continue
		}
		failed++
		if CodeOf(o.Err) == CodeOutcomeUnknown {
			unknown++
		}
		if first == nil {
			first = o.Err
		}
	}
	if len(e.Outcomes) == 1 {
		return first.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "publish %q: %d of %d messages failed", e.Topic, failed, len(e.Outcomes))
	if unknown > 0 {
		fmt.Fprintf(&b, " (of %d the outcome is unknown)", unknown)
	}
	fmt.Fprintf(&b, ": the first: %v", first)
	return b.String()
}

// Unwrap returns the errors of the messages that failed.
func (e *PublishError) Unwrap() []error {
	var errs []error
	for _, o := range e.Outcomes {
		if o.Err != nil {
			errs = append(errs, o.Err)
		}
	}
	return errs
}

// Publish hands all messages to the transport and returns when each has an
// outcome. nil means that the transport's log has every one of them. Otherwise the
// error is a *PublishError that lists the outcomes by index (a batch is not atomic),
// or an *Error with code Closed when the bus was closed before.
//
// Each message's own context is honoured; one without a deadline gets the delivery
// time-out. When it ends before the message was handed over the outcome is Canceled
// or CodeDeadlineExceeded and nothing was sent. When it ends later the outcome is
// CodeOutcomeUnknown, and the payload must still not be changed: the transport may go on
// reading it until it gives up on delivering.
//
// The messages stay the caller's, and are not acknowledged. It is safe for
// concurrent use; messages of sequential calls keep their order.
func (b *Bus) Publish(topic string, msgs ...*message.Message) error {
	if err := b.enter("publish", topic); err != nil {
		return err
	}
	defer b.gate.leave()
	if len(msgs) == 0 {
		return nil
	}
	p := b.newPublication(topic, msgs)
	for i, m := range msgs {
		ctx, err := context.Background(), error(nil)
		if m != nil {
			ctx = m.Context()
		}
		n := len(p.batch)
		p.batch = p.batch[:n+1]
		out := &p.batch[n]
		out.Context, out.Topic, out.Index, out.Sink = p.deadline(ctx), topic, i, p
		if m != nil {
			p.headers, p.keys, err = read(out, m, p.headers, p.keys)
		} else {
			err = b.nilMessage(topic)
		}
		if err = b.prepare(out, err); err != nil {
			p.Published(out, driver.Failed(err))
			*out = driver.Outgoing{}
			p.batch = p.batch[:n]
			continue
		}
		b.tracePublish(ctx, out, m)
	}
	if len(p.batch) > 0 {
		b.t.Publish(p.batch)
	}
	p.wait()
	return p.end()
}

// PublishAsync hands one message over and calls done with its outcome, exactly
// once, perhaps before it returns and perhaps on a goroutine of the transport's:
// done must not block. ctx, or without a deadline the delivery time-out, ends the
// wait for room, and nothing else: the outcome is told when it is known. Until then
// the message must not be changed. Tracers get ctx, and the values of the message's
// context where ctx has none.
func (b *Bus) PublishAsync(ctx context.Context, topic string, m *message.Message, done func(Outcome)) {
	if err := b.enter("publish", topic); err != nil {
		done(driver.Failed(err))
		return
	}
	a := b.newAsyncPublication(ctx, topic, done)
	if m == nil {
		b.publishAsync(ctx, a, nil, b.nilMessage(topic))
		return
	}
	var err error
	a.headers, a.key, err = read(&a.batch[0], m, a.headers, a.key)
	b.publishAsync(b.tracedContext(ctx, m), a, m, err)
}

// PublishRecord is PublishAsync for a record: what is published is what the subscribers
// will see, with its headers in their order and a key of any bytes. It goes to r.Topic,
// and to r.Partition, which is a number, or AnyPartition. A zero Timestamp is the time it is
// published. Offset and DecodeErr are not looked at. A header with the name of a
// directive (see SetKey) is an CodeInvalidArgument error; one that is there twice is CodeUnsupported
// without [Capabilities].HeaderOrder. The record, and what it refers to,
// must not be changed until the outcome is told; when that is CodeOutcomeUnknown key and
// payload must still not be.
func (b *Bus) PublishRecord(ctx context.Context, r *Record, done func(Outcome)) {
	topic := ""
	if r != nil {
		topic = r.Topic
	}
	if err := b.enter("publish", topic); err != nil {
		done(driver.Failed(err))
		return
	}
	a := b.newAsyncPublication(ctx, topic, done)
	if r == nil {
		b.publishAsync(ctx, a, nil, b.nilMessage(topic))
		return
	}
	out := &a.batch[0]
	out.Partition, out.Key, out.Timestamp, out.UUID, out.Headers, out.Payload = r.Partition, r.Key, r.Timestamp, r.UUID, r.Headers, r.Payload
	var m *message.Message
	if b.cfg.hooks.observesPublishing() || len(b.cfg.hooks.publishes) > 0 {
		m = message.NewMessage(r.UUID, r.Payload)
		m.Metadata = metadata(r)
		m.SetContext(ctx)
	}
	b.publishAsync(ctx, a, m, b.checkRecord(r))
}

// checkRecord says what a message could not have, or this transport can't carry.
func (b *Bus) checkRecord(r *Record) error {
	fail := func(code Code, reason string) error {
		return &Error{Code: code, Op: "publish", Transport: b.caps.Name, Topic: r.Topic, Reason: reason}
	}
	if r.Partition < AnyPartition {
		return fail(CodeInvalidArgument, fmt.Sprintf("partition %d is neither a partition's number nor AnyPartition", r.Partition))
	}
	for i := range r.Headers {
		name := r.Headers[i].Key
		if driver.IsDirective(name) {
			return fail(CodeInvalidArgument, "header "+name+" directs publishing and is no record's: set the record's field")
		}
		if !b.caps.HeaderOrder && slices.ContainsFunc(r.Headers[:i], func(h Header) bool { return h.Key == name }) {
			return fail(CodeUnsupported, "this transport's records have each header once, and "+name+" is there twice")
		}
	}
	return nil
}

// publishAsync goes on with what was read, unless it was wrong. m is for hooks.
func (b *Bus) publishAsync(traced context.Context, a *asyncPublication, m *message.Message, wrong error) {
	a.message = m
	out := &a.batch[0]
	if err := b.prepare(out, wrong); err != nil {
		a.Published(out, driver.Failed(err))
		return
	}
	b.tracePublish(traced, out, m)
	b.t.Publish(a.batch[:])
}

func (b *Bus) nilMessage(topic string) error {
	return &Error{Code: CodeInvalidArgument, Op: "publish", Transport: b.caps.Name, Topic: topic, Reason: "the message is nil"}
}

// prepare makes sure that there is a topic, or says why out can't be handed over. wrong is
// what is known of that.
func (b *Bus) prepare(out *driver.Outgoing, wrong error) error {
	fail := func(code Code, reason string, cause error) error {
		return &Error{Code: code, Op: "publish", Transport: b.caps.Name, Topic: out.Topic, Reason: reason, Err: cause}
	}
	if n := size(out); n > b.cfg.maxMessageBytes {
		return fail(CodeTooLarge, fmt.Sprintf("the message has %d bytes, the limit is %d", n, b.cfg.maxMessageBytes), nil)
	}
	if wrong != nil {
		return wrong
	}
	if out.Partition != driver.AnyPartition && !b.caps.Partitions {
		return fail(CodeUnsupported, "this transport's topics have no partitions: name none", nil)
	}
	if err := out.Context.Err(); err != nil {
		return fail(driver.ContextCode(err), "nothing was sent", err)
	}
	return b.create(out.Context, out.Topic)
}

// begin is when publishing began, for the hooks; without any nobody asks.
func (b *Bus) begin() (begun time.Time) {
	if b.cfg.hooks.observesPublishing() {
		begun = time.Now()
	}
	return begun
}

// published tells the hooks an outcome.
func (b *Bus) published(m *message.Message, topic string, r Outcome, begun time.Time) {
	b.cfg.hooks.onPublish(PublishEvent{Transport: b.caps.Name, Topic: topic, Message: m, Outcome: r, Duration: time.Since(begun)})
}

// publication gathers the outcomes of one Publish. It is used again when the transport
// has told all of them and nobody has waited for its context: then nobody else knows of
// it any more.
type publication struct {
	bus       *Bus
	topic     string
	begun     time.Time
	msgs      []*message.Message // for hooks; empty without any
	batch     []driver.Outgoing
	headers   []Header // those of the batch
	keys      []byte   // those of the batch
	own       deadlineContext
	deadlines []*deadlineContext // own and more, each for messages in a row with one context

	mu      sync.Mutex
	results []result
	left    int
	failed  bool
	kept    bool          // somebody may still know of it: it can't be used again
	waiting bool          // somebody waits on done
	done    chan struct{} // gets a token when left is 0 and somebody waits

	// Under expiry.mu: its place in the list of those who wait, until expires.
	before, after *publication
	listed        bool
	expires       time.Time
}

type result struct {
	Outcome
	told bool
}

// What is kept of a batch's memory for the next one, at the most.
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
	p.topic, p.begun, p.left = topic, b.begin(), n
	if !p.begun.IsZero() {
		p.msgs = append(p.msgs, msgs...)
	}
	p.results = slices.Grow(p.results, n)[:n]
	p.batch = slices.Grow(p.batch, n)
	return p
}

// end tells what became of the messages, and lets go of p. It is called when every
// outcome is there; nothing changes them any more.
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
	// A transport's client may look at what it gave up on for a while.
	again := !p.kept && !p.failed && cap(p.batch) <= maxReused && cap(p.headers) <= maxReusedHeaders && cap(p.keys) <= maxReusedKeys
	p.mu.Unlock()
	for _, d := range p.deadlines {
		again = d.release() && again
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

// deadline returns the bounded form of a message's context; neighbours with the same
// context share it.
func (p *publication) deadline(ctx context.Context) *deadlineContext {
	d := &p.own
	if n := len(p.deadlines); n > 0 {
		if last := p.deadlines[n-1]; last.Context == ctx {
			return last
		}
		d = &deadlineContext{}
	}
	d.set(ctx, p.bus.cfg.deliveryTimeout)
	p.deadlines = append(p.deadlines, d)
	return d
}

// Published is the transport's call. What comes after the caller has been told
// CodeOutcomeUnknown is for the hooks only.
func (p *publication) Published(o *driver.Outgoing, r Outcome) {
	if len(p.msgs) > 0 {
		p.bus.published(p.msgs[o.Index], p.topic, r, p.begun)
	}
	p.mu.Lock()
	last := p.tell(o.Index, r)
	p.mu.Unlock()
	if last {
		p.done <- struct{}{}
	}
}

// tell notes an outcome, unless there is one. It returns true when it was the last and
// somebody waits on done, who is to be told, once, and has p until then. p.mu is held.
func (p *publication) tell(i int, r Outcome) (last bool) {
	if p.results[i].told {
		return false
	}
	p.results[i] = result{r, true}
	p.failed = p.failed || r.Err != nil
	p.left--
	return p.left == 0 && p.waiting
}

// keep has p not used again: somebody may know of it for longer than it lasts.
func (p *publication) keep() {
	p.mu.Lock()
	p.kept = true
	p.mu.Unlock()
}

// wait returns when every message has an outcome, its context's end among them.
func (p *publication) wait() {
	p.mu.Lock()
	if p.left == 0 {
		p.mu.Unlock()
		return // the transport told all of them at once: no timers needed
	}
	p.waiting = true
	d := p.deadlines[0]
	p.kept = len(p.deadlines) > 1 || d.waitedFor() // a context's end that is being told may come late
	p.mu.Unlock()
	if p.kept {
		for _, d := range p.deadlines {
			defer context.AfterFunc(d.start(), func() { p.giveUp(d, d.Err()) })()
		}
		<-p.done
		return
	}
	if d.timeout > 0 {
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

// giveUp says of the messages with this context, which has ended, that their
// outcome is unknown. A transport may be about to say that nothing was sent; what
// the caller is told is weaker and still true.
func (p *publication) giveUp(ctx *deadlineContext, cause error) {
	err := &Error{Code: CodeOutcomeUnknown, Op: "publish", Transport: p.bus.caps.Name, Topic: p.topic,
		Reason: "the message was handed over and the wait for its outcome ended: it may or may not be in the log", Err: cause}
	last := false
	p.mu.Lock()
	p.kept = true // outcomes are still to come
	for i := range p.batch {
		if p.batch[i].Context == ctx {
			last = p.tell(p.batch[i].Index, driver.Failed(err)) || last
		}
	}
	p.mu.Unlock()
	if last {
		p.done <- struct{}{}
	}
}

// asyncPublication tells the outcome of one message, and is used again then, as a
// publication is.
type asyncPublication struct {
	bus      *Bus
	begun    time.Time
	message  *message.Message // for hooks
	deadline deadlineContext
	done     func(Outcome)
	batch    [1]driver.Outgoing
	headers  []Header
	key      []byte
}

func (b *Bus) newAsyncPublication(ctx context.Context, topic string, done func(Outcome)) *asyncPublication {
	a, ok := b.asyncPublications.Get().(*asyncPublication)
	if !ok {
		a = &asyncPublication{bus: b}
	}
	a.begun, a.done = b.begin(), done
	a.deadline.set(ctx, b.cfg.deliveryTimeout)
	out := &a.batch[0]
	out.Context, out.Topic, out.Sink = &a.deadline, topic, a
	return a
}

// Published is the transport's call.
func (a *asyncPublication) Published(o *driver.Outgoing, r Outcome) {
	b, done := a.bus, a.done
	if !a.begun.IsZero() {
		b.published(a.message, o.Topic, r, a.begun)
	}
	if a.deadline.release() && r.Err == nil {
		a.deadline.Context, a.message, a.done, a.batch[0] = nil, nil, nil, driver.Outgoing{}
		clear(a.headers)
		a.headers, a.key = a.headers[:0], a.key[:0]
		b.asyncPublications.Put(a)
	}
	done(r)
	b.gate.leave() // Close waits until every outcome has been told
}
