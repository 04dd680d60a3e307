package bus

import (
	"context"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// Publish passes the messages to the transport and returns when each has an outcome. It
// returns nil if and only if the transport's log has all of them. A batch is not atomic, so the
// error is a [*PublishError] with the outcome of each message. If the bus is closed or the name
// of the topic is empty, Publish sends nothing and returns an [*Error].
//
// The context of each message bounds its publishing. If it has no deadline, the delivery time-out
// applies. If the context ends before the bus passed the message to the transport, the outcome has
// CodeCanceled or CodeDeadlineExceeded, and nothing was sent. If it ends later, the outcome has
// CodeOutcomeUnknown. The caller must still not change the payload then, because the transport
// may read it until it stops trying.
//
// Publish calls neither Ack nor Nack of the messages. Messages of sequential calls keep their
// order within a partition.
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
// once. It may call done before PublishAsync returns, or later from another goroutine. done must
// not block. The message must not be changed before done is called.
//
// ctx bounds only the wait for space in the transport. If it has no deadline, the delivery time-out
// applies. The outcome may come after ctx has ended. Tracers get a context with the values of ctx
// and of the message's context; those of ctx take precedence.
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

// PublishRecord is PublishAsync for a record. It keeps the order of the headers, and the key may
// have any bytes. The record goes to r.Topic, and to r.Partition unless that is AnyPartition. If
// Timestamp is zero, the record gets the time of publishing. Offset and DecodeErr have no effect.
//
// A header with a reserved name (see [driver.IsDirective]) is an error with CodeInvalidArgument.
// Two headers with the same name are an error with CodeUnsupported on a transport without
// [Capabilities].HeaderOrder.
//
// The record and its key, headers and payload must not be changed before done is called. After
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

// checkRecord returns an error if the record has an invalid partition, a header with a reserved
// name, or a header name twice on a transport that does not support that.
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

// publishAsync checks and traces the message in a, and passes it to the transport. If wrong is
// not nil, it reports that error as the outcome. m is the message for hooks and tracers.
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

// prepare creates the topic if the bus is configured to, and returns an error if out must not be
// passed to the transport. wrong is the error of read or checkRecord.
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
