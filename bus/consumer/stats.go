package consumer

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Stats is what a consumer has done since it was made, and where it stands. It is a copy.
type Stats struct {
	// State, Since and Cause are those of Current.
	State State
	Since time.Time
	Cause error
	// Entered is how often each state was entered.
	Entered map[State]uint64
	// Paused says that handlers are held back.
	Paused bool
	// Handlers is how many run now, InFlight the messages they were given.
	Handlers int64
	InFlight int64
	// Blocked is how many messages have failed as often as they may, have no retry topic
	// and no dead-letter topic to go to, and hold up what is ordered after them.
	Blocked int64
	// Handled counts messages that their handlers acknowledged.
	Handled uint64
	// Failed counts failures: a message that fails three times is three.
	Failed uint64
	// Retried counts messages that are to be handled again in their place, after a
	// failure or because the handler asked for it; Postponed those that went to a retry
	// topic.
	Retried   uint64
	Postponed uint64
	// DeadLettered counts messages that are in the dead-letter topic.
	DeadLettered uint64
	// Dropped counts messages that handlers answered with bus.Drop.
	Dropped uint64
	// Interrupted counts messages whose handlers failed after their contexts had ended:
	// their partition was taken away, or the consumer stopped. They are delivered again.
	Interrupted uint64
	// Calls counts handler calls that have ended, Time is how long they took together,
	// Longest the longest.
	Calls   uint64
	Time    time.Duration
	Longest time.Duration
	// Lag says how far behind it is in each partition it holds, where the transport
	// knows that; by topic and partition.
	Lag []Lag
}

// Latency returns the mean time of a handler call, 0 before the first has ended.
func (s Stats) Latency() time.Duration {
	if s.Calls == 0 {
		return 0
	}
	return s.Time / time.Duration(s.Calls)
}

// Lag is how far a consumer is behind in one partition, of its topic or of a retry topic.
type Lag struct {
	Topic string
	bus.PartitionLag
}

// Stats returns what the consumer has done. It asks nobody and does not wait.
func (c *Consumer) Stats() Stats {
	t := &c.tally
	s := Stats{
		Paused: c.Paused(), Handlers: t.running.Load(), InFlight: t.inFlight.Load(), Blocked: c.blocked.n.Load(),
		Handled: t.handled.Load(), Failed: t.failed.Load(), Retried: t.retried.Load(), Postponed: t.postponed.Load(),
		DeadLettered: t.deadLettered.Load(), Dropped: t.dropped.Load(), Interrupted: t.interrupted.Load(),
		Calls: t.calls.Load(), Time: time.Duration(t.took.Load()), Longest: time.Duration(t.longest.Load()),
		Entered: map[State]uint64{},
	}
	c.mu.Lock()
	now := c.history.now()
	for state, n := range c.history.entered {
		s.Entered[State(state)] = n
	}
	var subs []*bus.Subscription
	if c.run != nil {
		subs = c.run.subs
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

// Handled is one call of a handler that has ended.
type Handled struct {
	Topic     string
	Partition int32
	// Messages is how many it was given: 1, or a batch.
	Messages int
	// Attempt is that of the first message.
	Attempt int
	// Err is what it returned, before the failure policy.
	Err      error
	Duration time.Duration
}

// Observe has f told of each handler call that has ended, until remove is called. f is
// called from many goroutines at once, and must not block.
func (c *Consumer) Observe(f func(Handled)) (remove func()) {
	t := &c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	id := t.last
	if t.observers == nil {
		t.observers = map[uint64]func(Handled){}
	}
	t.observers[id] = f
	t.share()
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.observers, id)
		t.share()
	}
}

// tally is what Stats are made of.
type tally struct {
	running, inFlight                   atomic.Int64
	handled, failed, retried, postponed atomic.Uint64
	deadLettered, dropped, interrupted  atomic.Uint64
	calls                               atomic.Uint64
	took, longest                       atomic.Int64 // nanoseconds

	mu        sync.Mutex
	last      uint64
	observers map[uint64]func(Handled)
	shared    atomic.Pointer[[]func(Handled)] // observers, to be read without a lock
}

// share is called with mu held.
func (t *tally) share() {
	all := make([]func(Handled), 0, len(t.observers))
	for _, id := range slices.Sorted(maps.Keys(t.observers)) {
		all = append(all, t.observers[id])
	}
	t.shared.Store(&all)
}

// begin counts a handler call that begins.
func (t *tally) begin(messages int) time.Time {
	t.running.Add(1)
	t.inFlight.Add(int64(messages))
	return time.Now()
}

// observe counts a handler call that has ended.
func (c *Consumer) observe(begun time.Time, first *bus.Record, attempt, messages int, err error) {
	t, took := &c.tally, time.Since(begun)
	t.running.Add(-1)
	t.inFlight.Add(-int64(messages))
	t.calls.Add(1)
	t.took.Add(int64(took))
	for longest := t.longest.Load(); int64(took) > longest && !t.longest.CompareAndSwap(longest, int64(took)); {
		longest = t.longest.Load()
	}
	if observers := t.shared.Load(); observers != nil {
		for _, f := range *observers {
			f(Handled{Topic: first.Topic, Partition: first.Partition, Messages: messages, Attempt: attempt, Err: err, Duration: took})
		}
	}
}
