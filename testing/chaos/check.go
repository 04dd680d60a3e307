package chaos

import (
	"cmp"
	"fmt"
	"slices"
)

// Rule is the name of a rule; the package comment defines each rule.
type Rule string

// The rules.
const (
	Lost                Rule = "lost"
	Repeated            Rule = "repeated"
	WrongOutcome        Rule = "wrong outcome"
	Unexplained         Rule = "unexplained"
	LogOutOfOrder       Rule = "log out of order"
	Undelivered         Rule = "undelivered"
	DeliveredOutOfOrder Rule = "delivered out of order"
	Overlapping         Rule = "overlapping"
	Rewound             Rule = "rewound"
	PrematureCommit     Rule = "premature commit"
)

// Violation is one violation of a rule.
type Violation struct {
	Rule    Rule
	Group   string // "" for the log
	Message Message
	Place   Place
	Detail  string
}

// String returns the violation as one line.
func (v Violation) String() string {
	subject := "log"
	if v.Group != "" {
		subject = "group " + v.Group
	}
	return fmt.Sprintf("%s: %s: %v at %v: %s", v.Rule, subject, v.Message, v.Place, v.Detail)
}

// Check returns every violation of the rules in a history. The history must be complete: nothing is
// recorded any more, and History.Log is the whole topic. groups are the groups that must have handled
// everything, even if the history has no event of them. Without groups, Check uses the groups of the
// history.
func Check(h *History, groups ...string) []Violation {
	if len(groups) == 0 {
		groups = h.groups()
	}
	c := &check{h: h, log: make(map[Message][]Place), at: make(map[Place]Message), offsets: make(map[int32][]int64)}
	for _, e := range h.Log {
		c.log[e.Message] = append(c.log[e.Message], e.Place)
		c.at[e.Place] = e.Message
		c.offsets[e.Place.Partition] = append(c.offsets[e.Place.Partition], e.Place.Offset)
	}
	for _, offsets := range c.offsets {
		slices.Sort(offsets)
	}
	c.checkOutcomes()
	c.checkLogOrder()
	for _, name := range groups {
		c.checkGroup(name)
	}
	return c.violations
}

type check struct {
	h          *History
	log        map[Message][]Place
	at         map[Place]Message
	offsets    map[int32][]int64 // of the log, ascending
	violations []Violation
}

func (c *check) report(rule Rule, group string, m Message, p Place, format string, args ...any) {
	c.violations = append(c.violations, Violation{rule, group, m, p, fmt.Sprintf(format, args...)})
}

// checkOutcomes compares the outcomes that publishers received with the log.
func (c *check) checkOutcomes() {
	type outcome struct {
		acknowledged, failed bool
		place                Place
	}
	published := make(map[Message]outcome)
	for _, e := range c.h.snapshot() {
		o := published[e.Message]
		switch e.Kind {
		case Published:
		case Acknowledged:
			o.acknowledged, o.place = true, e.Place
		case Failed:
			o.failed = true
		default:
			continue
		}
		published[e.Message] = o
	}
	for m, o := range published {
		places := c.log[m]
		switch {
		case o.acknowledged && len(places) == 0:
			c.report(Lost, "", m, o.place, "acknowledged, but not in the log")
		case o.acknowledged && o.place.Offset >= 0 && !slices.Contains(places, o.place):
			c.report(WrongOutcome, "", m, o.place, "acknowledged there, but in the log at %v", places)
		case o.failed && len(places) > 0:
			c.report(WrongOutcome, "", m, places[0], "failed, but in the log")
		}
	}
	for m, places := range c.log {
		if len(places) > 1 {
			c.report(Repeated, "", m, places[0], "in the log at %v", places)
		}
		if _, ok := published[m]; !ok {
			c.report(Unexplained, "", m, places[0], "in the log, but never published")
		}
	}
}

// checkLogOrder checks that the numbers of each key ascend in the log.
func (c *check) checkLogOrder() {
	entries := slices.Clone(c.h.Log)
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Place.Partition, b.Place.Partition), cmp.Compare(a.Place.Offset, b.Place.Offset))
	})
	last := make(map[string]Entry)
	for _, e := range entries {
		before, ok := last[e.Message.Key]
		switch {
		case ok && before.Place.Partition != e.Place.Partition:
			c.report(LogOutOfOrder, "", e.Message, e.Place, "its key is also in partition %d", before.Place.Partition)
		case ok && before.Message.Number > e.Message.Number:
			c.report(LogOutOfOrder, "", e.Message, e.Place, "it is after %v at %v", before.Message, before.Place)
		}
		last[e.Message.Key] = e
	}
}
