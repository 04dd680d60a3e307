package bustest

import (
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Rule selects messages of a topic and the fault that they have. If several rules apply to a
// message, the message has the fault of the first rule; all of the rules count the message. A Rule
// is immutable.
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

// OnPublish returns a rule for messages that are published to the topic. "" means every topic; the
// rule counts the messages of each topic separately.
func OnPublish(topic string, when When, do Action) Rule { return Rule{publishing, topic, when, do} }

// OnFetch returns a rule for records that are fetched from the topic, by any subscription. "" means
// every topic; the rule counts the records of each topic separately.
func OnFetch(topic string, when When, do Action) Rule { return Rule{fetching, topic, when, do} }

// When is the condition of a rule. It decides which of the counted messages have the fault. The
// zero When is invalid.
type When struct {
	// applies gets the number of the message, from 1, and a pseudo-random number from 0 to 1 that
	// is the same in every run.
	applies func(n int, random float64) bool
	err     string
}

// Always applies to every message.
func Always() When { return When{applies: func(int, float64) bool { return true }} }

// Nth applies to the messages with these numbers. The first message has number 1.
func Nth(numbers ...int) When {
	numbers = slices.Clone(numbers)
	w := When{applies: func(n int, _ float64) bool { return slices.Contains(numbers, n) }}
	for _, n := range numbers {
		if n < 1 {
			w.err = "Nth: the numbers must be at least 1"
		}
	}
	return w
}

// Every applies to each n-th message: Every(10) to the 10th, 20th, 30th and so on.
func Every(n int) When {
	if n < 1 {
		return When{err: "Every: the number must be at least 1"}
	}
	return When{applies: func(i int, _ float64) bool { return i%n == 0 }}
}

// Probability applies to each message with probability p, which is from 0 to 1.
func Probability(p float64) When {
	w := When{applies: func(_ int, random float64) bool { return random < p }}
	if !(p >= 0 && p <= 1) {
		w.err = "Probability: the probability must be from 0 to 1"
	}
	return w
}

// Action is the fault of a rule. The zero Action is invalid.
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

// Fail does not publish the message, and reports an error with this code as its outcome.
func Fail(code driver.Code) Action { return Action{kind: fail, on: publishing, code: code} }

// Delay waits for d before it passes on the message and the rest of its batch, or before it returns
// the records that were fetched together with the record. The end of the message's context ends the
// wait, and the message fails.
func Delay(d time.Duration) Action { return Action{kind: delay, on: publishing | fetching, d: d} }

// Duplicate publishes the message twice, as a retry of a producer without idempotence does. The
// message has the outcome of the first copy.
func Duplicate() Action { return Action{kind: duplicate, on: publishing} }

// LoseOutcome publishes the message, and always reports OutcomeUnknown as its outcome.
func LoseOutcome() Action { return Action{kind: loseOutcome, on: publishing} }

// HoldOutcome publishes the message, but reports its outcome only at [Faults.ReleaseOutcomes]. If
// the transport is closed before that, the outcome is OutcomeUnknown.
func HoldOutcome() Action { return Action{kind: holdOutcome, on: publishing} }

// Corrupt makes the record undecodable: its DecodeErr is cause.
func Corrupt(cause error) Action { return Action{kind: corrupt, on: fetching, err: cause} }

// Disconnect calls [Faults.Disconnect] just before the message is passed on or the record is
// returned, and [Faults.Connect] after d. If d is 0, the test must call Connect.
func Disconnect(d time.Duration) Action {
	return Action{kind: disconnect, on: publishing | fetching, d: d}
}

// Rebalance calls [Faults.Rebalance] for every group on the topic, just before the message is passed
// on or the record is returned.
func Rebalance() Action { return Action{kind: rebalance, on: publishing | fetching} }

func (r Rule) check() error {
	reason := ""
	switch {
	case r.when.err != "":
		reason = r.when.err
	case r.when.applies == nil:
		reason = "the rule has no condition (When)"
	case r.do.kind == none:
		reason = "the rule has no fault (Action)"
	case r.do.on&r.on == 0:
		reason = "the fault does not fit the operation: Fail, Duplicate, LoseOutcome and HoldOutcome need OnPublish, Corrupt needs OnFetch"
	case r.do.d < 0:
		reason = "the duration must not be negative, got " + r.do.d.String()
	case r.do.kind == corrupt && r.do.err == nil:
		reason = "Corrupt: the cause must not be nil"
	default:
		return nil
	}
	return &driver.Error{Code: driver.CodeInvalidArgument, Op: "inject faults", Topic: r.topic, Reason: reason}
}

// ruleSet has the injected rules and their counts. Faults.mu guards it.
type ruleSet struct {
	seed  uint64
	rules []*countingRule
	added uint64 // the number of rules ever added
}

type countingRule struct {
	Rule
	id    uint64
	count map[string]int // by topic
}

func (s *ruleSet) add(rules []Rule) {
	for _, r := range rules {
		s.added++
		s.rules = append(s.rules, &countingRule{Rule: r, id: s.added, count: map[string]int{}})
	}
}

// decide counts a message and returns the fault for it.
func (s *ruleSet) decide(on operation, topic string) Action {
	var do Action
	for _, r := range s.rules {
		if r.on != on || r.topic != "" && r.topic != topic {
			continue
		}
		r.count[topic]++
		if do.kind == none && r.when.applies(r.count[topic], s.random(r, topic)) {
			do = r.do
		}
	}
	return do
}

// random returns a number from 0 to 1 that depends only on the seed, the rule, the topic and the
// count.
func (s *ruleSet) random(r *countingRule, topic string) float64 {
	h := scramble(s.seed)
	h = scramble(h ^ r.id)
	for _, c := range []byte(topic) {
		h = scramble(h ^ uint64(c))
	}
	h = scramble(h ^ uint64(r.count[topic]))
	return float64(h>>11) / (1 << 53)
}

// scramble is the hash function of splitmix64.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
