package bustest

import (
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Publish implements [driver.Transport]. It applies the rules to each message, and passes the
// messages to the wrapped transport in order.
func (f *Faults) Publish(batch []driver.Outgoing) {
	if f.timestamp != nil {
		for i := range batch {
			if batch[i].Timestamp.IsZero() {
				batch[i].Timestamp = f.timestamp()
			}
		}
	}
	f.mu.Lock()
	unchanged := len(f.rules.rules) == 0 && f.cutCause == nil
	f.mu.Unlock()
	if unchanged {
		f.inner.Publish(batch)
		return
	}
	// The transport may keep pointers to its messages until they are complete, so all parts of the
	// batch are slices of one array that never grows.
	all := make([]driver.Outgoing, 0, 2*len(batch))
	begin := 0
	flush := func() {
		if begin < len(all) {
			part := all[begin:len(all):len(all)]
			begin = len(all)
			f.inner.Publish(part)
		}
	}
	for i := range batch {
		o := batch[i] // a copy, because the caller reuses its batch
		act := f.decide(publishing, o.Topic)
		switch act.kind {
		case disconnect, rebalance, delay:
			flush()
		}
		if err := f.beforePublish(act, &o); err != nil {
			o.Complete(driver.Failed(err))
			continue
		}
		switch act.kind {
		case duplicate:
			pair := &duplicatePair{sink: o.Sink, pending: 2}
			second := o
			o.Sink, second.Sink = duplicateSink{pair, true}, duplicateSink{pair, false}
			all = append(all, o, second)
			continue
		case loseOutcome:
			o.Sink = &losingSink{f, o.Sink}
		case holdOutcome:
			o.Sink = &holdingSink{f, o.Sink}
		}
		all = append(all, o)
	}
	flush()
}

// decide counts a message and returns the fault for it.
func (f *Faults) decide(on operation, topic string) Action {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rules.decide(on, topic)
}

// beforePublish causes the faults that occur before the message is passed on. It returns an error if
// the message cannot be published.
func (f *Faults) beforePublish(act Action, o *driver.Outgoing) error {
	switch act.kind {
	case fail:
		return f.failure(act.code, "publish", o.Topic, "a fault was injected", nil)
	case delay:
		t := time.NewTimer(act.d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-o.Context.Done():
			return f.failure(driver.ContextCode(o.Context.Err()), "publish", o.Topic, "nothing was sent", o.Context.Err())
		case <-f.closing.Done():
			return f.closed("publish", o.Topic)
		}
	case disconnect:
		f.disconnect(errDisconnected, act.d)
	case rebalance:
		f.rebalance("", o.Topic)
	}
	return f.checkConnected("publish", o.Topic)
}

// ReleaseOutcomes reports the outcomes that [HoldOutcome] has held so far.
func (f *Faults) ReleaseOutcomes() {
	f.mu.Lock()
	held := f.held
	f.held = nil
	f.mu.Unlock()
	for _, o := range held {
		o.sink.Published(&o.out, o.result)
	}
}

// heldOutcome is an outcome that HoldOutcome holds.
type heldOutcome struct {
	f      *Faults
	sink   driver.Sink
	out    driver.Outgoing
	result driver.Outcome
}

// lose reports the outcome as unknown.
func (o heldOutcome) lose() { o.sink.Published(&o.out, o.f.unknown(o.out.Topic)) }

func (f *Faults) unknown(topic string) driver.Outcome {
	return driver.Failed(f.failure(driver.CodeOutcomeUnknown, "publish", topic,
		"a fault lost the outcome: the message may or may not be in the log", nil))
}

type losingSink struct {
	f    *Faults
	sink driver.Sink
}

func (s *losingSink) Published(o *driver.Outgoing, _ driver.Outcome) {
	s.sink.Published(o, s.f.unknown(o.Topic))
}

type holdingSink struct {
	f    *Faults
	sink driver.Sink
}

func (s *holdingSink) Published(o *driver.Outgoing, r driver.Outcome) {
	held := heldOutcome{s.f, s.sink, *o, r}
	s.f.mu.Lock()
	closed := s.f.closing.Err() != nil
	if !closed {
		s.f.held = append(s.f.held, held)
	}
	s.f.mu.Unlock()
	if closed {
		held.lose()
	}
}

// duplicatePair reports the outcome of the first of two copies. It waits until both copies have an
// outcome, because the caller may reuse the message after that.
type duplicatePair struct {
	sink driver.Sink

	mu      sync.Mutex
	pending int
	first   driver.Outcome
}

type duplicateSink struct {
	*duplicatePair
	isFirst bool
}

func (s duplicateSink) Published(o *driver.Outgoing, r driver.Outcome) {
	p := s.duplicatePair
	p.mu.Lock()
	if s.isFirst {
		p.first = r
	}
	p.pending--
	done, first := p.pending == 0, p.first
	p.mu.Unlock()
	if done {
		p.sink.Published(o, first)
	}
}
