package delivery

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

// handleKey handles the record, and then the records that are queued behind it for the same key.
// It ends if a record is released, because no later record of the key may be handled before it.
func (c *claim) handleKey(it *Item) {
	for more := true; it != nil && more; {
		it, more = c.handle(it)
	}
}

// handle executes the actions of the state for the item. It returns when the item is done, released
// or deferred. next is the next record of the key. more is false if no later record of the key may
// be handled.
func (c *claim) handle(it *Item) (next *Item, more bool) {
	if !c.acquireInFlight(it) {
		return nil, false
	}
	for e := (event{kind: begin, mayStart: c.mayStart()}); ; {
		a := c.step(it, e)
		switch a.do {
		case doDeliver:
			e = event{kind: returned, err: c.deliver(it)}
		case doResume:
			c.report(it, a.cause)
			e = event{kind: returned, err: a.cause}
		case doCommit:
			e = event{kind: committed, err: c.commitFirst(it)}
		case doDeadLetter:
			e = event{kind: deadLettered, err: c.deadLetter(c.ctx, it, a.cause)}
		case doPause:
			elapsed := c.pause(a.pause)
			e = event{kind: pauseEnded, mayStart: elapsed && c.mayStart()}
		case doStop:
			c.engine.stop(a.cause)
			c.releaseInFlight(it)
			return nil, false
		case doRelease:
			c.releaseInFlight(it)
			return nil, false
		case doDone:
			if a.moved {
				c.commit.moved()
			}
			return a.next, true
		case doNothing: // deferred: Settle continues with the item
			return nil, true
		}
	}
}

// step applies the event to the state, and returns the action. After doDone the item may be reused
// for another record, so step itself releases what the item held.
func (c *claim) step(it *Item, e event) action {
	c.mu.Lock()
	counted := it.counted
	a := c.state.step(it, e)
	if a.do == doNothing && e.kind == returned {
		c.workers.deferred++
	}
	c.mu.Unlock()
	if a.do == doDone {
		if counted {
			c.engine.inFlight.Release(1)
		}
		c.signalSpace()
	}
	return a
}

// acquireInFlight waits until InFlight permits another message. It returns false if the claim ends or
// drains first. The item counts for InFlight until it is done or released.
func (c *claim) acquireInFlight(it *Item) bool {
	f := c.engine.inFlight
	if f == nil || it.counted {
		return true
	}
	ctx := c.starting()
	if err := f.Acquire(ctx, 1); err != nil {
		return false
	}
	if ctx.Err() != nil { // Acquire may succeed although ctx has ended
		f.Release(1)
		return false
	}
	it.counted = true
	return true
}

func (c *claim) releaseInFlight(it *Item) {
	if it.counted {
		it.counted = false
		c.engine.inFlight.Release(1)
	}
}

// deliver calls the handler for the current attempt, and returns its result. It also reports the
// result to hooks and tracers, unless it is ErrLater: Settle reports it then.
func (c *claim) deliver(it *Item) error {
	if it.record.DecodeErr != nil {
		return c.undecodable(it)
	}
	release, err := c.admitted(it)
	if err != nil {
		return err
	}
	defer release()
	cfg := &c.engine.cfg
	ctx, end := cfg.Observers.traceDelivery(c.ctx, hook.DeliveryStart{Transport: cfg.Caps.Name, Group: cfg.Group, Record: &it.record, Attempt: it.attempt})
	it.deliver(ctx)
	it.begun, it.end = time.Time{}, end
	if cfg.Observers.observesDeliveries() {
		it.begun = time.Now()
	}
	err = c.call(ctx, it)
	if k, _ := controlOf(err); k == nil || k.Answer != Later || cfg.Settle == nil {
		c.report(it, err)
	}
	return err
}

// admitted calls the admission function, and waits until Concurrency permits another handler. The
// caller must call release after the handler has returned.
func (c *claim) admitted(it *Item) (release func(), err error) {
	wait := c.starting()
	if admit := c.engine.cfg.Admit; admit != nil {
		it.asked[0] = &it.record
		if err := admit(wait, AdmissionRequest{Records: it.asked[:], Draining: c.engine.draining}); err != nil {
			return nil, err
		}
	}
	s := c.engine.slots
	if s == nil {
		return func() {}, nil
	}
	if it.atMostOnce { // it is acknowledged: it must be handled even if the claim ends
		wait = context.WithoutCancel(wait)
	}
	select {
	case s <- struct{}{}:
		if wait.Err() != nil { // both were ready, and select chose the slot
			<-s
			return nil, context.Cause(wait)
		}
		return func() { <-s }, nil
	case <-wait.Done():
		return nil, context.Cause(wait)
	}
}

// report calls the tracers and hooks with the result of a delivery, and logs a failure.
func (c *claim) report(it *Item, err error) {
	it.end(err)
	if err != nil {
		c.logFailure(it, err)
	}
	if cfg := &c.engine.cfg; cfg.Observers.observesDeliveries() {
		cfg.Observers.onDelivery(hook.DeliveryEvent{Transport: cfg.Caps.Name, Group: cfg.Group, Record: &it.record, Attempt: it.attempt,
			Err: err, Duration: time.Since(it.begun)})
	}
}

// logFailure logs that a message was not handled. A dead letter is logged when it is published,
// and Stop is the error of the subscription.
func (c *claim) logFailure(it *Item, err error) {
	answer, cause := AnswerOf(err)
	control, isControl := controlOf(err)
	switch {
	case answer == Drop && isControl && control.RetryTopic != "":
		c.engine.log.warn("message postponed: it is in a retry topic", &it.record, "attempt", it.attempt, "retry_topic", control.RetryTopic, "error", cause)
	case answer == Drop:
		c.engine.log.warn("message dropped", &it.record, "attempt", it.attempt, "error", cause)
	case answer == Stop, answer == DeadLetter && c.engine.cfg.DeadLetterTopic != "":
	case c.ctx.Err() != nil: // the partition is revoked, or the subscription ends
	case it.atMostOnce:
		c.engine.log.warn("message not handled, and not delivered again", &it.record, "error", err)
	default:
		c.engine.log.warn("message not handled: it is delivered again", &it.record, "attempt", it.attempt, "error", err)
	}
}

// call calls the handler, and turns a panic into an error.
func (c *claim) call(ctx context.Context, it *Item) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(&it.record, 1, p)
		}
	}()
	return c.engine.cfg.Handle(ctx, it)
}

// panicked logs the panic of a handler, and returns it as an error.
func (c *claim) panicked(r *driver.Record, records int, p any) error {
	c.engine.cfg.Logger.Error("handler panicked", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset,
		"records", records, "panic", p, "stack", string(debug.Stack()))
	return &driver.Error{Code: driver.CodeInternal, Op: "handle", Topic: r.Topic, Reason: fmt.Sprintf("the handler panicked: %v", p)}
}

// undecodable returns the result for a record that cannot be decoded: an error like that of
// bus.DeadLetter. Without a dead-letter topic it ends the subscription.
func (c *claim) undecodable(it *Item) error {
	cfg := &c.engine.cfg
	err := &driver.Error{Code: driver.CodeUndecodable, Op: "consume", Transport: cfg.Caps.Name, Topic: it.record.Topic, Err: it.record.DecodeErr,
		Reason: fmt.Sprintf("the record at partition %d, offset %d is not a message; set DeadLetterTopic to skip such records", it.record.Partition, it.record.Offset)}
	if cfg.DeadLetterTopic == "" {
		c.engine.stop(err)
		return err
	}
	return &Control{Answer: DeadLetter, Err: err}
}

// commitFirst commits an item of AtMostOnce. It is called before the handler.
func (c *claim) commitFirst(it *Item) error {
	err := c.commit.through(it.record.Offset)
	if err != nil {
		c.engine.cfg.Logger.Warn("message not handled and may be lost: the commit before its handler failed", "topic", it.record.Topic,
			"partition", it.record.Partition, "offset", it.record.Offset, "error", err)
	}
	return err
}

// Settle sets the result for a handler that returned, or will return, [ErrLater]. It must be called
// exactly once for each such delivery, from any goroutine. It does not block.
func (it *Item) Settle(err error) {
	c := it.claim
	c.mu.Lock()
	a := c.state.step(it, event{kind: settled, err: err})
	c.mu.Unlock()
	if a.do != doResume {
		return // the handler has not returned yet
	}
	c.report(it, err)
	c.mu.Lock()
	counted := it.counted
	a = c.state.step(it, event{kind: resumed, err: err})
	if a.next != nil {
		c.state.ready.push(a.next)
	}
	next, idle := c.workers.returnDeferred()
	c.mu.Unlock()
	if a.do == doDone {
		if counted {
			c.engine.inFlight.Release(1)
		}
		c.signalSpace()
		if a.moved {
			c.commit.moved()
		}
	}
	next.signal()
	signalAll(idle)
}
