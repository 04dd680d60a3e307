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

// lane bounds the publishing to one topic. Its slots are given in the order of
// arrival. It exists while users is not 0.
type lane struct {
	slots chan struct{}
	users int
}

// Publish gives each message its turn, in order, waiting for it under the message's
// context. It does not wait for the Pub/Sub's answer, only for turns.
func (t *Transport) Publish(batch []driver.Outgoing) {
	for i := range batch {
		t.publish(&batch[i])
	}
}

func (t *Transport) publish(o *driver.Outgoing) {
	topic := o.Topic // o is not ours once it is completed
	if err := t.check(o); err != nil {
		o.Complete(driver.Failed(err))
		return
	}
	l, ok := t.enter(topic)
	if !ok {
		o.Complete(driver.Failed(t.closedError("publish", topic)))
		return
	}
	if err := t.awaitTurn(l, o); err != nil {
		o.Complete(driver.Failed(err))
		t.leave(topic, l)
		return
	}
	h := &handover{transport: t, topic: topic, lane: l, out: o, copy: copyOf(o)}
	if !t.start(h) {
		o.Complete(driver.Failed(t.closedError("publish", topic)))
		<-l.slots
		t.leave(topic, l)
		return
	}
	go h.run(o.Context)
}

func (t *Transport) check(o *driver.Outgoing) error {
	switch {
	case o.Topic == "":
		return t.fail(driver.CodeInvalidArgument, "publish", "", "the topic is empty: name one", nil)
	case o.Partition > 0:
		return t.fail(driver.CodeUnsupported, "publish", o.Topic, "there are no partitions: publish without naming one", nil)
	case o.Context.Err() != nil:
		return t.waitError("publish", o.Topic, o.Context)
	default:
		return nil
	}
}

// enter counts the message in; false when Close has begun.
func (t *Transport) enter(topic string) (*lane, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.beginLocked() {
		return nil, false
	}
	l := t.lanes[topic]
	if l == nil {
		l = &lane{slots: make(chan struct{}, t.opts.concurrency)}
		t.lanes[topic] = l
	}
	l.users++
	return l, true
}

// leave undoes enter.
func (t *Transport) leave(topic string, l *lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(t.lanes, topic)
	}
	t.finishLocked()
}

func (t *Transport) awaitTurn(l *lane, o *driver.Outgoing) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-o.Context.Done():
		return t.waitError("publish", o.Topic, o.Context)
	case <-t.closing:
		return t.closedError("publish", o.Topic)
	}
}

// start registers h as running; false when Close has given up on those already.
func (t *Transport) start(h *handover) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		return false
	}
	t.running[h] = struct{}{}
	return true
}

// copyOf returns what the publisher is given. It shares nothing with the original,
// which may change once its outcome is told. Of headers with one name the last is left. What
// has no UUID gets one: there are Pub/Subs that need it.
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

// handover is one message that the publisher has. Whoever sets told completes it.
type handover struct {
	transport *Transport
	topic     string
	lane      *lane
	out       *driver.Outgoing
	copy      *message.Message
	told      atomic.Bool
}

// run publishes the message and gives the turn to the next one.
func (h *handover) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		h.unknown("its time ran out while it was being published: it may or may not have been sent", ctx.Err())
	})
	err := h.publish()
	stop()
	t := h.transport
	switch {
	case err == nil:
		t.connection.worked()
		h.tell(driver.Outcome{Partition: -1, Offset: -1})
	case driver.ContextCode(err) != driver.CodeUnknown && codeOf(err) == driver.CodeUnknown:
		h.unknown("the publisher gave up on it: it may or may not have been sent", err)
	default:
		h.tell(driver.Failed(t.fail(codeOf(err), "publish", h.topic, "", err)))
	}
	<-h.lane.slots
	t.mu.Lock()
	delete(t.running, h)
	t.mu.Unlock()
	t.leave(h.topic, h.lane)
}

// publish turns a panic of the publisher into an error.
func (h *handover) publish() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = h.transport.fail(driver.CodeInternal, "publish", h.topic, fmt.Sprintf("the publisher panicked: %v", p), nil)
		}
	}()
	return h.transport.pub.Publish(h.topic, h.copy)
}

func (h *handover) unknown(reason string, cause error) {
	h.tell(driver.Failed(h.transport.fail(driver.CodeOutcomeUnknown, "publish", h.topic, reason, cause)))
}

func (h *handover) tell(r driver.Outcome) {
	if h.told.CompareAndSwap(false, true) {
		h.out.Complete(r)
	}
}
