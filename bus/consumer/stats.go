package consumer

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Stats are the counters of a consumer since New, and its current state. Later changes of the
// consumer do not change it.
type Stats struct {
	// State, Since and Cause are those of Current.
	State State
	Since time.Time
	Cause error
	// Entered has, for each state, how often the consumer entered it.
	Entered map[State]uint64
	// Paused reports whether the consumer is paused.
	Paused bool
	// Handlers is the number of running handler calls. InFlight is the number of messages in
	// these calls.
	Handlers int64
	InFlight int64
	// Blocked is the number of messages that have failed and cannot be moved to a retry topic
	// or a dead-letter topic. The consumer goes on retrying them. Messages ordered after them
	// wait.
	Blocked int64
	// Handled counts messages that handlers acknowledged.
	Handled uint64
	// Failed counts failures: a message that fails three times counts three times.
	Failed uint64
	// Retried counts attempts that are repeated in place, after a failure or because the
	// handler returned a bus.RetryAfter.
	Retried uint64
	// Postponed counts messages that went to a retry topic.
	Postponed uint64
	// DeadLettered counts messages that went to the dead-letter topic.
	DeadLettered uint64
	// Dropped counts messages for which the handler returned a bus.Drop.
	Dropped uint64
	// Interrupted counts messages whose handler failed after its context had ended, because
	// the partition was revoked or the consumer stopped. They are delivered again.
	Interrupted uint64
	// Calls counts handler calls that have returned. Time is their total duration. Longest
	// is the duration of the longest one.
	Calls   uint64
	Time    time.Duration
	Longest time.Duration
	// Lag is the lag of each assigned partition, if the transport reports it.
	Lag []Lag
}

// Latency returns the mean duration of a handler call, 0 before the first one has returned.
func (s Stats) Latency() time.Duration {
	if s.Calls == 0 {
		return 0
	}
	return time.Duration(float64(s.Time) / float64(s.Calls))
}

// Lag is the lag of one partition of the topic or of a retry topic.
type Lag struct {
	Topic string
	bus.PartitionLag
}

// Stats returns the counters. It does not contact the broker and does not block.
func (c *Consumer) Stats() Stats {
	n := &c.counters
	s := Stats{
		Paused: c.Paused(), Handlers: n.handlers.Load(), InFlight: n.inFlight.Load(), Blocked: c.blocked.count.Load(),
		Handled: n.handled.Load(), Failed: n.failed.Load(), Retried: n.retried.Load(), Postponed: n.postponed.Load(),
		DeadLettered: n.deadLettered.Load(), Dropped: n.dropped.Load(), Interrupted: n.interrupted.Load(),
		Calls: n.calls.Load(), Time: time.Duration(n.time.Load()), Longest: time.Duration(n.longest.Load()),
		Entered: map[State]uint64{},
	}
	c.mu.Lock()
	now := c.history.current()
	for state, n := range c.history.entered {
		s.Entered[State(state)] = n
	}
	var subs []*bus.Subscription
	if c.cycle != nil {
		subs = c.cycle.subs
	}
	c.mu.Unlock()
	s.State, s.Since, s.Cause = now.State, now.Since, now.Cause
	for _, sub := range subs {
		for _, l := range sub.Lag() {
			s.Lag = append(s.Lag, Lag{sub.Topic(), l})
		}
	}
	return s
}

// HandlerCall is a handler call that has returned.
type HandlerCall struct {
	Topic     string
	Partition int32
	// Messages is the number of messages of the call: 1, or the size of the batch.
	Messages int
	// Attempt is the attempt of the first message of the call.
	Attempt int
	// Err is the error of the handler, before the consumer applies the failure policy to it.
	Err      error
	Duration time.Duration
}

// Observe calls f after each handler call, until remove is called. f is called concurrently
// and must not block.
func (c *Consumer) Observe(f func(HandlerCall)) (remove func()) {
	n := &c.counters
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lastID++
	id := n.lastID
	if n.observers == nil {
		n.observers = map[uint64]func(HandlerCall){}
	}
	n.observers[id] = f
	n.publishObservers()
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.observers, id)
		n.publishObservers()
	}
}

type counters struct {
	handlers, inFlight                  atomic.Int64
	handled, failed, retried, postponed atomic.Uint64
	deadLettered, dropped, interrupted  atomic.Uint64
	calls                               atomic.Uint64
	time, longest                       atomic.Int64 // nanoseconds

	mu        sync.Mutex
	lastID    uint64
	observers map[uint64]func(HandlerCall)
	published atomic.Pointer[[]func(HandlerCall)] // the values of observers, read without the lock
}

// publishObservers must be called with mu held.
func (n *counters) publishObservers() {
	all := make([]func(HandlerCall), 0, len(n.observers))
	for _, id := range slices.Sorted(maps.Keys(n.observers)) {
		all = append(all, n.observers[id])
	}
	n.published.Store(&all)
}

// begin counts a handler call that begins. It returns the start time, which end needs.
func (n *counters) begin(messages int) time.Time {
	n.handlers.Add(1)
	n.inFlight.Add(int64(messages))
	return time.Now()
}

// end counts a handler call that has returned, and calls the observers.
func (n *counters) end(begun time.Time, first *bus.Record, attempt, messages int, err error) {
	d := time.Since(begun)
	n.handlers.Add(-1)
	n.inFlight.Add(-int64(messages))
	n.calls.Add(1)
	n.time.Add(int64(d))
	for longest := n.longest.Load(); int64(d) > longest && !n.longest.CompareAndSwap(longest, int64(d)); {
		longest = n.longest.Load()
	}
	if observers := n.published.Load(); observers != nil {
		for _, f := range *observers {
			f(HandlerCall{Topic: first.Topic, Partition: first.Partition, Messages: messages, Attempt: attempt, Err: err, Duration: d})
		}
	}
}
