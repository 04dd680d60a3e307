package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// StepFigures are the figures of one step.
type StepFigures struct {
	Step
	// Acknowledged, Unknown and Failed count the outcomes of published messages.
	Acknowledged, Unknown, Failed int
	// Repeated counts how often a group handled a message that it had handled before, over all groups.
	Repeated int
	// Publishing has the longest outage of publishing to each partition. Delivery has, for each group,
	// the longest outage of delivery from each partition.
	Publishing []Outage
	Delivery   map[string][]Outage
}

// Longest returns the longest outage of publishing, and of delivery to any group.
func (f StepFigures) Longest() (publishing, delivery time.Duration) {
	for _, outages := range f.Delivery {
		delivery = max(delivery, LongestOutage(outages).Length)
	}
	return LongestOutage(f.Publishing).Length, delivery
}

// String returns a line for the step and a line for each partition.
func (f StepFigures) String() string {
	var b strings.Builder
	publishing, delivery := f.Longest()
	fmt.Fprintf(&b, "%-32s took %5.1f s: longest outage of publishing %5.2f s, of delivery %5.2f s; acknowledged %d, unknown %d, failed %d, handled again %d",
		f.Name, (f.To - f.From).Seconds(), publishing.Seconds(), delivery.Seconds(), f.Acknowledged, f.Unknown, f.Failed, f.Repeated)
	for i, m := range f.Marks {
		fmt.Fprintf(&b, "%s%s at %+.1f s", [...]string{"\n    ", ", "}[min(i, 1)], m.Name, (m.At - f.From).Seconds())
	}
	groups := slices.Sorted(maps.Keys(f.Delivery))
	for p, o := range f.Publishing {
		fmt.Fprintf(&b, "\n    partition %d: publishing %s", p, f.outage(o))
		for _, g := range groups {
			fmt.Fprintf(&b, "; delivery %s", f.outage(f.Delivery[g][p]))
		}
	}
	return b.String()
}

// outage returns the length of the outage, and its start relative to the step.
func (f StepFigures) outage(o Outage) string {
	return fmt.Sprintf("%5.2f s (from %+.2f s)", o.Length.Seconds(), (o.From - f.From).Seconds())
}

// Report returns the figures of every step of a complete history. partitions is the number of partitions
// of the topic. groups has the same meaning as for [Check].
func Report(h *History, partitions int32, groups ...string) []StepFigures {
	if len(groups) == 0 {
		groups = h.groups()
	}
	events := h.snapshot()
	all := make([]StepFigures, len(h.Steps))
	for i, step := range h.Steps {
		f := StepFigures{Step: step, Publishing: Outages(h, Publishing, partitions, step.From, step.To), Delivery: make(map[string][]Outage)}
		for _, g := range groups {
			f.Delivery[g] = Outages(h, g, partitions, step.From, step.To)
		}
		all[i] = f
	}
	type delivery struct {
		group   string
		message Message
	}
	handled := make(map[delivery]bool)
	for _, e := range events {
		repeated := false
		if e.Kind == Handled {
			d := delivery{e.Group, e.Message}
			repeated = handled[d]
			handled[d] = true
		}
		for i := range all {
			if e.At < all[i].From || e.At > all[i].To {
				continue
			}
			switch {
			case e.Kind == Acknowledged:
				all[i].Acknowledged++
			case e.Kind == Unknown:
				all[i].Unknown++
			case e.Kind == Failed:
				all[i].Failed++
			case repeated:
				all[i].Repeated++
			}
		}
	}
	return all
}
