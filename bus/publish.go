package bus

import (
	"context"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// Publish passes the messages to the transport and returns when each has an outcome. It
// returns nil if and only if the transport's log has all of them. Otherwise the error is a
// [*PublishError] with the outcome of each message, because a batch is not atomic, or an
// [*Error] with CodeClosed if the bus was closed before.
//
// The context of each message bounds its publishing; the delivery time-out bounds a message
// whose context has no deadline. If the context ends before the message was passed to the
// transport, the outcome is CodeCanceled or CodeDeadlineExceeded, and nothing was sent. If it
// ends later, the outcome is CodeOutcomeUnknown, and the payload must still not be changed,
// because the transport may read it until it stops trying.
//
// The messages remain the caller's and are not acknowledged. Messages of sequential calls keep
// their order.
func (b *Bus) Publish(topic string, msgs ...*message.Message) error {
	if err := b.enter("publish", topic); err != nil {
		return err
	}
	defer b.calls.leave()
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
		out.Context, out.Topic, out.Index, out.Sink = p.bounded(ctx), topic, i, p
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
		b.tracePublish(ctx, p.hooks, out, m)
	}
	if len(p.batch) > 0 {
		b.t.Publish(p.batch)
	}
	p.wait()
	return p.end()
}

// PublishAsync passes one message to the transport, and calls done with its outcome exactly
// once: perhaps before PublishAsync returns, and perhaps on a goroutine of the transport. done
// must not block. ctx, or the delivery time-out if it has no deadline, bounds only the wait for
// space; the outcome comes when it is known. The message must not be changed before. Tracers get
// ctx, and the values of the message's context where ctx has none.
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
	b.publishAsync(tracedContext(ctx, a.hooks, m), a, m, err)
}

// PublishRecord is PublishAsync for a record. Subscribers get what is published: the headers in
// their order, and a key of any bytes. The record goes to r.Topic, and to r.Partition unless
// that is AnyPartition. A zero Timestamp is the time of publishing. Offset and DecodeErr have no
// effect. A header with a reserved name (see [SetKey]) is an error with CodeInvalidArgument; a
// name that occurs twice is an error with CodeUnsupported without [Capabilities].HeaderOrder.
// The record, and what it refers to, must not be changed before done is called; after
// CodeOutcomeUnknown the key and payload must still not be changed.
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
	if len(a.hooks.Publish)+len(a.hooks.PublishTracers) > 0 {
		m = newMessage(r)
		m.SetContext(ctx)
	}
	b.publishAsync(ctx, a, m, b.checkRecord(r))
}

// checkRecord returns an error for what a message cannot have, or the transport cannot carry.
func (b *Bus) checkRecord(r *Record) error {
	fail := func(code Code, reason string) error {
		return &Error{Code: code, Op: "publish", Transport: b.caps.Name, Topic: r.Topic, Reason: reason}
	}
	if r.Partition < AnyPartition {
		return fail(CodeInvalidArgument, fmt.Sprintf("partition %d is neither a partition nor AnyPartition", r.Partition))
	}
	for i := range r.Headers {
		name := r.Headers[i].Key
		if driver.IsDirective(name) {
			return fail(CodeInvalidArgument, "the header name "+name+" is reserved: set the field of the record instead")
		}
		if !b.caps.HeaderOrder && slices.ContainsFunc(r.Headers[:i], func(h Header) bool { return h.Key == name }) {
			return fail(CodeUnsupported, "this transport carries each header name once, and "+name+" occurs twice")
		}
	}
	return nil
}

// publishAsync continues with a message that was read, unless wrong is an error. m is for hooks.
func (b *Bus) publishAsync(traced context.Context, a *asyncPublication, m *message.Message, wrong error) {
	a.message = m
	out := &a.batch[0]
	if err := b.prepare(out, wrong); err != nil {
		a.Published(out, driver.Failed(err))
		return
	}
	b.tracePublish(traced, a.hooks, out, m)
	b.t.Publish(a.batch[:])
}

func (b *Bus) nilMessage(topic string) error {
	return &Error{Code: CodeInvalidArgument, Op: "publish", Transport: b.caps.Name, Topic: topic, Reason: "the message is nil"}
}

// prepare creates the topic if that is configured, and returns an error if out must not be
// passed to the transport. wrong is the error of reading it.
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
		return fail(CodeUnsupported, "the topics of this transport have no partitions: remove the partition", nil)
	}
	if err := out.Context.Err(); err != nil {
		return fail(driver.ContextCode(err), "nothing was sent", err)
	}
	return b.create(out.Context, out.Topic)
}

// publishRecord publishes a record and waits for its outcome.
func (b *Bus) publishRecord(ctx context.Context, r *Record) error {
	outcome := make(chan error, 1)
	b.PublishRecord(ctx, r, func(o Outcome) { outcome <- o.Err })
	return <-outcome // the transport always completes it
}
