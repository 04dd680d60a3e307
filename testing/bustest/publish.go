package bustest

import (
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Publish hands the batch to the transport, in order, each message with what the
// rules have for it.
func (f *Faults) Publish(batch []driver.Outgoing) {
	if f.stamp != nil {
		for i := range batch {
			if batch[i].Timestamp.IsZero() {
				batch[i].Timestamp = f.stamp()
			}
		}
	}
	f.mu.Lock()
	plain := len(f.script.rules) == 0 && f.away == nil
	f.mu.Unlock()
	if plain {
		f.inner.Publish(batch)
		return
	}
	// The transport may refer to what it was handed until that is completed, so the
	// runs share one array that never grows.
	all := make([]driver.Outgoing, 0, 2*len(batch))
	begin := 0
	flush := func() {
		if begin < len(all) {
			run := all[begin:len(all):len(all)]
			begin = len(all)
			f.inner.Publish(run)
		}
	}
	for i := range batch {
		o := batch[i] // a copy: the caller goes on using its batch
		act := f.decide(publishing, o.Topic)
		switch act.kind {
		case disconnect, rebalance, delay:
			flush()
		}
		if err := f.befall(act, &o); err != nil {
			o.Complete(driver.Failed(err))
			continue
		}
		switch act.kind {
		case duplicate:
			pair := &twins{sink: o.Sink, left: 2}
			second := o
			o.Sink, second.Sink = twinSink{pair, true}, twinSink{pair, false}
			all = append(all, o, second)
			continue
		case loseOutcome:
			o.Sink = &lossySink{f, o.Sink}
		case holdOutcome:
			o.Sink = &holdingSink{f, o.Sink}
		}
		all = append(all, o)
	}
	flush()
}

func (f *Faults) decide(on operation, topic string) Action {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.script.decide(on, topic)
}

// befall does what comes before the message is handed over, and returns why it can't
// be.
func (f *Faults) befall(act Action, o *driver.Outgoing) error {
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
		f.disconnect(errCut, act.d)
	case rebalance:
		f.rebalance("", o.Topic)
	}
	return f.reach("publish", o.Topic)
}

// ReleaseOutcomes tells the outcomes that HoldOutcome has held so far.
func (f *Faults) ReleaseOutcomes() {
	f.mu.Lock()
	held := f.held
	f.held = nil
	f.mu.Unlock()
	for _, o := range held {
		o.sink.Published(&o.out, o.result)
	}
}

// outcome is one that is held.
type outcome struct {
	f      *Faults
	sink   driver.Sink
	out    driver.Outgoing
	result driver.Outcome
}

// lose tells it as unknown.
func (o outcome) lose() { o.sink.Published(&o.out, o.f.unknown(o.out.Topic)) }

func (f *Faults) unknown(topic string) driver.Outcome {
	return driver.Failed(f.failure(driver.CodeOutcomeUnknown, "publish", topic,
		"a fault lost the outcome: the message may or may not be in the log", nil))
}

type lossySink struct {
	f    *Faults
	sink driver.Sink
}

func (s *lossySink) Published(o *driver.Outgoing, _ driver.Outcome) {
	s.sink.Published(o, s.f.unknown(o.Topic))
}

type holdingSink struct {
	f    *Faults
	sink driver.Sink
}

func (s *holdingSink) Published(o *driver.Outgoing, r driver.Outcome) {
	held := outcome{s.f, s.sink, *o, r}
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

// twins tell the outcome of the first of two when both have theirs: the message is
// its owner's again then.
type twins struct {
	sink driver.Sink

	mu    sync.Mutex
	left  int
	first driver.Outcome
}

type twinSink struct {
	*twins
	first bool
}

func (s twinSink) Published(o *driver.Outgoing, r driver.Outcome) {
	t := s.twins
	t.mu.Lock()
	if s.first {
		t.first = r
	}
	t.left--
	done, first := t.left == 0, t.first
	t.mu.Unlock()
	if done {
		t.sink.Published(o, first)
	}
}
