package foreign

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// topicLimiter bounds the concurrent calls of the publisher for one topic. The runtime
// serves goroutines that wait for a channel in order of arrival, so messages get their
// slots in that order. The limiter exists while users is not 0.
type topicLimiter struct {
	slots chan struct{}
	users int
}

// Publish starts the publishing of each message, in order. It waits, under the context of
// the message, until the message has its turn. It does not wait for the publisher to
// return.
func (t *Transport) Publish(batch []driver.Outgoing) {
	for i := range batch {
		t.publish(&batch[i])
	}
}

func (t *Transport) publish(o *driver.Outgoing) {
	topic := o.Topic // o must not be used after Complete
	if err := t.check(o); err != nil {
		o.Complete(driver.Failed(err))
		return
	}
	l, ok := t.enter(topic)
	if !ok {
		o.Complete(driver.Failed(t.closedError("publish", topic)))
		return
	}
	if err := t.waitForSlot(l, o); err != nil {
		o.Complete(driver.Failed(err))
		t.leave(topic, l)
		return
	}
	c := &publishCall{transport: t, topic: topic, limiter: l, out: o, copy: copyOf(o)}
	if !t.register(c) {
		o.Complete(driver.Failed(t.closedError("publish", topic)))
		<-l.slots
		t.leave(topic, l)
		return
	}
	go c.run(o.Context)
}

func (t *Transport) check(o *driver.Outgoing) error {
	switch {
	case o.Topic == "":
		return t.newError(driver.CodeInvalidArgument, "publish", "", "the topic is empty: name one", nil)
	case o.Partition > 0:
		return t.newError(driver.CodeUnsupported, "publish", o.Topic, "there are no partitions: publish without naming a partition", nil)
	case o.Context.Err() != nil:
		return t.contextError("publish", o.Topic, o.Context)
	default:
		return nil
	}
}

// enter counts the message and returns the limiter of its topic. It returns false if Close
// has begun.
func (t *Transport) enter(topic string) (*topicLimiter, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.beginLocked() {
		return nil, false
	}
	l := t.limiters[topic]
	if l == nil {
		l = &topicLimiter{slots: make(chan struct{}, t.opts.publishConcurrency)}
		t.limiters[topic] = l
	}
	l.users++
	return l, true
}

// leave undoes enter.
func (t *Transport) leave(topic string, l *topicLimiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(t.limiters, topic)
	}
	t.finishLocked()
}

func (t *Transport) waitForSlot(l *topicLimiter, o *driver.Outgoing) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-o.Context.Done():
		return t.contextError("publish", o.Topic, o.Context)
	case <-t.closing:
		return t.closedError("publish", o.Topic)
	}
}

// register adds c to the running calls. It returns false if Close has already abandoned
// the running calls.
func (t *Transport) register(c *publishCall) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		return false
	}
	t.running[c] = struct{}{}
	return true
}

// copyOf returns the message for the publisher. It shares nothing with the original, which
// can change after its outcome is reported. If several headers have the same name, the last
// one is kept. A message without a UUID gets one, because some Pub/Subs need it.
func copyOf(o *driver.Outgoing) *message.Message {
	uuid := o.UUID
	if uuid == "" {
		uuid = watermill.NewUUID()
	}
	m := message.NewMessage(uuid, bytes.Clone(o.Payload))
	for _, h := range o.Headers {
		m.Metadata[h.Key] = h.Value
	}
	if len(o.Key) > 0 {
		m.Metadata[driver.KeyDirective] = string(o.Key)
	}
	m.SetContext(o.Context)
	return m
}

// publishCall is a running call of the publisher for one message. The goroutine that sets
// completed completes the message.
type publishCall struct {
	transport *Transport
	topic     string
	limiter   *topicLimiter
	out       *driver.Outgoing
	copy      *message.Message
	completed atomic.Bool
}

// run publishes the message and then frees the slot.
func (c *publishCall) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		c.completeUnknown("the context ended while the message was being published: it may or may not have been sent", ctx.Err())
	})
	err := c.publish()
	stop()
	t := c.transport
	switch {
	case err == nil:
		t.connection.succeeded()
		c.complete(driver.Outcome{Partition: -1, Offset: -1})
	case driver.ContextCode(err) != driver.CodeUnknown && codeOf(err) == driver.CodeUnknown:
		c.completeUnknown("the publisher stopped waiting: the message may or may not have been sent", err)
	default:
		c.complete(driver.Failed(t.newError(codeOf(err), "publish", c.topic, "", err)))
	}
	<-c.limiter.slots
	t.mu.Lock()
	delete(t.running, c)
	t.mu.Unlock()
	t.leave(c.topic, c.limiter)
}

// publish calls the publisher. It converts a panic to an error.
func (c *publishCall) publish() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.transport.newError(driver.CodeInternal, "publish", c.topic, fmt.Sprintf("the publisher panicked: %v", p), nil)
		}
	}()
	return c.transport.pub.Publish(c.topic, c.copy)
}

func (c *publishCall) completeUnknown(reason string, cause error) {
	c.complete(driver.Failed(c.transport.newError(driver.CodeOutcomeUnknown, "publish", c.topic, reason, cause)))
}

func (c *publishCall) complete(r driver.Outcome) {
	if c.completed.CompareAndSwap(false, true) {
		c.out.Complete(r)
	}
}
