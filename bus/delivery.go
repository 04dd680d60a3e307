package bus

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// deliver runs the handler once. away says that the outcome is told later: then e is not
// the caller's any more.
func (c *claim) deliver(e *entry, attempt int) (err error, away bool) {
	if e.rec.DecodeErr != nil {
		return c.undecodable(e), false
	}
	if c.sub.cfg.admit != nil {
		e.asked[0] = &e.rec
		if err := c.sub.cfg.admit(c.waiting(), AdmissionRequest{Records: e.asked[:], Draining: c.sub.draining}); err != nil {
			return err, false
		}
	}
	if s := c.sub.slots; s != nil {
		wait := c.waiting()
		if e.once {
			wait = context.WithoutCancel(wait)
		}
		select {
		case s <- struct{}{}:
			defer func() { <-s }()
			if wait.Err() != nil { // a slot was free, too
				return context.Cause(wait), false
			}
		case <-wait.Done():
			return context.Cause(wait), false
		}
	}
	d := c.sub.delivery(e, attempt)
	l := c.laterOf(e)
	d.later = l
	hooks := &c.sub.cfg.hooks
	ctx, end := hooks.traceDelivery(c.ctx, c.sub.bus.caps.Name, c.sub.cfg.group, d)
	d.SetContext(ctx)
	var begun time.Time
	if hooks.observesDeliveries() {
		begun = time.Now()
	}
	err = c.guarded(ctx, d)
	if l != nil && isLater(err) {
		l.attempt, l.begun, l.end = attempt, begun, end
		c.crew.leave()
		if !l.both() {
			return nil, true
		}
		c.crew.stay()
		err = l.outcome
	}
	c.delivered(e, attempt, begun, end, err)
	return err, false
}

// delivered tells tracers and hooks of a delivery's outcome.
func (c *claim) delivered(e *entry, attempt int, begun time.Time, end func(error), err error) {
	end(err)
	if !begun.IsZero() {
		c.sub.cfg.hooks.onDelivery(DeliveryEvent{Transport: c.sub.bus.caps.Name, Group: c.sub.cfg.group, Record: &e.rec, Attempt: attempt, Err: err, Duration: time.Since(begun)})
	}
}

// guarded turns a panic of the handler into an error.
func (c *claim) guarded(ctx context.Context, d *Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.sub.bus.cfg.logger.Error("handler panicked", "topic", d.Record.Topic, "partition", d.Record.Partition, "offset", d.Record.Offset,
				"panic", p, "stack", string(debug.Stack()))
			err = &Error{Code: CodeInternal, Op: "handle", Topic: d.Record.Topic, Reason: fmt.Sprintf("the handler panicked: %v", p)}
		}
	}()
	return c.sub.handler(ctx, d)
}

// delivery makes what the handler is given: a message of its own for each attempt,
// whatever the last one did to it.
func (s *Subscription) delivery(e *entry, attempt int) *Delivery {
	if s.acks || attempt > 1 {
		m := message.NewMessage(e.rec.UUID, e.rec.Payload)
		m.Metadata = s.metadata(&e.rec)
		return &Delivery{Message: m, Record: &e.rec, Attempt: attempt}
	}
	e.message.UUID, e.message.Payload, e.message.Metadata = e.rec.UUID, e.rec.Payload, s.metadata(&e.rec)
	e.delivery = Delivery{Message: &e.message, Record: &e.rec, Attempt: attempt}
	return &e.delivery
}

func (s *Subscription) metadata(r *Record) message.Metadata {
	if s.cfg.noMetadata && len(s.cfg.hooks.deliveries) == 0 {
		return nil
	}
	return metadata(r)
}

func metadata(r *Record) message.Metadata {
	n := len(r.Headers)
	if len(r.Key) > 0 {
		n++
	}
	all := make(message.Metadata, n)
	for _, h := range r.Headers {
		all[h.Key] = h.Value
	}
	if len(r.Key) > 0 {
		all[driver.KeyDirective] = string(r.Key)
	}
	return all
}

// undecodable applies the policy for records that are not messages: to the
// dead-letter topic, or the end of the subscription.
func (c *claim) undecodable(e *entry) error {
	err := &Error{Code: CodeUndecodable, Op: "consume", Transport: c.sub.bus.caps.Name, Topic: e.rec.Topic, Err: e.rec.DecodeErr,
		Reason: fmt.Sprintf("the record at partition %d, offset %d is no message; set a DeadLetterTopic to get past such records", e.rec.Partition, e.rec.Offset)}
	if c.sub.cfg.deadLetter == "" {
		c.sub.cancel(err)
		return err
	}
	return DeadLetter(err)
}
