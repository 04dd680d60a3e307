package chaos

import (
	"cmp"
	"fmt"
	"slices"
)

// Rule names what must hold; the package comment defines each.
type Rule string

// The rules.
const (
	Lost        Rule = "lost"
	Repeated    Rule = "repeated"
	Untrue      Rule = "untrue"
	Scrambled   Rule = "scrambled"
	Undelivered Rule = "undelivered"
	Disordered  Rule = "disordered"
	Overlapping Rule = "overlapping"
	Rewound     Rule = "rewound"
	Premature   Rule = "premature"
)

// Violation is one breach of a rule.
type Violation struct {
	Rule    Rule
	Group   string // "" for the log
	Message Message
	Place   Place
	Detail  string
}

// String returns one line.
func (v Violation) String() string {
	where := "log"
	if v.Group != "" {
		where = "group " + v.Group
	}
	return fmt.Sprintf("%s: %s: %v at %v: %s", v.Rule, where, v.Message, v.Place, v.Detail)
}

// Check returns every violation of the rules in a history that is complete: nothing
// is recorded any more, and Log holds the whole topic. groups are those that should have
// read everything, also when the history knows nothing of them; without any they are
// those that the history knows.
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
	c.published()
	c.ordered()
	for _, name := range groups {
		c.group(name)
	}
	return c.found
}

type check struct {
	h       *History
	log     map[Message][]Place
	at      map[Place]Message
	offsets map[int32][]int64 // of the log, rising
	found   []Violation
}

func (c *check) violated(rule Rule, group string, m Message, p Place, format string, args ...any) {
	c.found = append(c.found, Violation{rule, group, m, p, fmt.Sprintf(format, args...)})
}

// published holds what publishers were told against the log.
func (c *check) published() {
	type told struct {
		acknowledged, failed bool
		place                Place
	}
	messages := make(map[Message]told)
	for _, e := range c.h.snapshot() {
		t := messages[e.Message]
		switch e.Kind {
		case Published:
		case Acknowledged:
			t.acknowledged, t.place = true, e.Place
		case Failed:
			t.failed = true
		default:
			continue
		}
		messages[e.Message] = t
	}
	for m, t := range messages {
		places := c.log[m]
		switch {
		case t.acknowledged && len(places) == 0:
			c.violated(Lost, "", m, t.place, "acknowledged and not in the log")
		case t.acknowledged && t.place.Offset >= 0 && !slices.Contains(places, t.place):
			c.violated(Untrue, "", m, t.place, "acknowledged there, and the log has it at %v", places)
		case t.failed && t.acknowledged:
			c.violated(Untrue, "", m, t.place, "told as failed and acknowledged as well")
		case t.failed && len(places) > 0:
			c.violated(Untrue, "", m, places[0], "told as not sent, and the log has it")
		}
	}
	for m, places := range c.log {
		if len(places) > 1 {
			c.violated(Repeated, "", m, places[0], "in the log at %v", places)
		}
		if _, ok := messages[m]; !ok {
			c.violated(Untrue, "", m, places[0], "in the log and never published")
		}
	}
}

// ordered holds the log against the numbers of each key.
func (c *check) ordered() {
	entries := slices.Clone(c.h.Log)
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Place.Partition, b.Place.Partition), cmp.Compare(a.Place.Offset, b.Place.Offset))
	})
	last := make(map[string]Entry)
	for _, e := range entries {
		before, ok := last[e.Message.Key]
		switch {
		case ok && before.Place.Partition != e.Place.Partition:
			c.violated(Scrambled, "", e.Message, e.Place, "its key is in partition %d, too", before.Place.Partition)
		case ok && before.Message.Number > e.Message.Number:
			c.violated(Scrambled, "", e.Message, e.Place, "it comes after %v at %v", before.Message, before.Place)
		}
		last[e.Message.Key] = e
	}
}
