package bustest

import (
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Rule says which messages meet which fault. It is immutable. When several rules
// apply to a message the first of them is the one; all of them count it.
type Rule struct {
	on    operation
	topic string
	when  When
	do    Action
}

type operation uint8

const (
	publishing operation = 1 << iota
	fetching
)

// OnPublish makes a rule for messages that are published to the topic; "" is every
// topic, each counted by itself.
func OnPublish(topic string, when When, do Action) Rule { return Rule{publishing, topic, when, do} }

// OnFetch makes a rule for records that are fetched from the topic; "" is every
// topic, each counted by itself. Every subscription's fetches count.
func OnFetch(topic string, when When, do Action) Rule { return Rule{fetching, topic, when, do} }

// When says which of the messages a rule sees meet its fault. The zero When is
// none.
type When struct {
	// applies is told the message's number from 1 on, and a number from 0 to 1 that
	// is the same for the same message each time.
	applies func(n int, chance float64) bool
	err     string
}

// Always is every message.
func Always() When { return When{applies: func(int, float64) bool { return true }} }

// Nth is the messages with these numbers; the first is 1.
func Nth(numbers ...int) When {
	numbers = slices.Clone(numbers)
	w := When{applies: func(n int, _ float64) bool { return slices.Contains(numbers, n) }}
	for _, n := range numbers {
		if n < 1 {
			w.err = "Nth counts from 1"
		}
	}
	return w
}

// Every is each n-th message: Every(10) is the 10th, 20th, 30th, …
func Every(n int) When {
	if n < 1 {
		return When{err: "Every takes a number from 1"}
	}
	return When{applies: func(i int, _ float64) bool { return i%n == 0 }}
}

// Probability is each message with probability p, 0 to 1.
func Probability(p float64) When {
	w := When{applies: func(_ int, chance float64) bool { return chance < p }}
	if !(p >= 0 && p <= 1) {
		w.err = "Probability takes a number from 0 to 1"
	}
	return w
}

// Action is a fault. The zero Action is none, and refused.
type Action struct {
	kind kind
	on   operation
	code driver.Code
	d    time.Duration
	err  error
}

type kind uint8

const (
	none kind = iota
	fail
	delay
	duplicate
	loseOutcome
	holdOutcome
	corrupt
	disconnect
	rebalance
)

// Fail completes the message with an error of this code; it is not published.
func Fail(code driver.Code) Action { return Action{kind: fail, on: publishing, code: code} }

// Delay waits this long before the message, and those of its batch that come after
// it, are handed over, or before the records that were fetched with it are. The
// message's context bounds the wait.
func Delay(d time.Duration) Action { return Action{kind: delay, on: publishing | fetching, d: d} }

// Duplicate publishes the message twice, one right after the other, as a producer
// does that is not idempotent and tries again. The outcome is the first one's.
func Duplicate() Action { return Action{kind: duplicate, on: publishing} }

// LoseOutcome publishes the message and says OutcomeUnknown, whatever became of it.
func LoseOutcome() Action { return Action{kind: loseOutcome, on: publishing} }

// HoldOutcome publishes the message and says nothing until [Faults.ReleaseOutcomes],
// or OutcomeUnknown when the transport is closed first.
func HoldOutcome() Action { return Action{kind: holdOutcome, on: publishing} }

// Corrupt makes the record one that could not be decoded: its DecodeErr is cause.
func Corrupt(cause error) Action { return Action{kind: corrupt, on: fetching, err: cause} }

// Disconnect does what [Faults.Disconnect] does just before the message is handed
// over or the record returned, and [Faults.Connect] after d; 0 leaves that to the
// test.
func Disconnect(d time.Duration) Action {
	return Action{kind: disconnect, on: publishing | fetching, d: d}
}

// Rebalance does what [Faults.Rebalance] does, for every group on the topic, just
// before the message is handed over or the record returned.
func Rebalance() Action { return Action{kind: rebalance, on: publishing | fetching} }

func (r Rule) check() error {
	reason := ""
	switch {
	case r.when.err != "":
		reason = r.when.err
	case r.when.applies == nil:
		reason = "the rule has no When"
	case r.do.kind == none:
		reason = "the rule has no Action"
	case r.do.on&r.on == 0:
		reason = "the Action is not one for this operation: Fail, Duplicate and the outcomes are for OnPublish, Corrupt for OnFetch"
	case r.do.d < 0:
		reason = "the duration is negative"
	case r.do.kind == corrupt && r.do.err == nil:
		reason = "Corrupt needs a cause"
	default:
		return nil
	}
	return &driver.Error{Code: driver.CodeInvalidArgument, Op: "inject", Topic: r.topic, Reason: reason}
}

// script is the rules, and what they have seen. Guarded by Faults.mu.
type script struct {
	seed  uint64
	rules []*counted
	added uint64 // rules that were ever added
}

type counted struct {
	Rule
	id   uint64
	seen map[string]int // by topic
}

func (s *script) add(rules []Rule) {
	for _, r := range rules {
		s.added++
		s.rules = append(s.rules, &counted{Rule: r, id: s.added, seen: map[string]int{}})
	}
}

// decide counts one message, and returns what is to befall it.
func (s *script) decide(on operation, topic string) Action {
	var do Action
	for _, r := range s.rules {
		if r.on != on || r.topic != "" && r.topic != topic {
			continue
		}
		r.seen[topic]++
		if do.kind == none && r.when.applies(r.seen[topic], s.chance(r, topic)) {
			do = r.do
		}
	}
	return do
}

// chance returns a number from 0 to 1 that depends on nothing but the seed, the
// rule, the topic and the count.
func (s *script) chance(r *counted, topic string) float64 {
	h := scramble(s.seed)
	h = scramble(h ^ r.id)
	for _, c := range []byte(topic) {
		h = scramble(h ^ uint64(c))
	}
	h = scramble(h ^ uint64(r.seen[topic]))
	return float64(h>>11) / (1 << 53)
}

// scramble is the finalizer of splitmix64.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
