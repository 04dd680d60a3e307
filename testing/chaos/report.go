package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// StepFigures are what happened during one step.
type StepFigures struct {
	Step
	Acknowledged, Unknown, Failed int
	// Duplicated is how many deliveries, to all groups, were of messages that their group
	// had handled before.
	Duplicated int
	// Publishing holds the silence of each partition, and Delivery that of each partition
	// in each group.
	Publishing []Silence
	Delivery   map[string][]Silence
}

// Longest returns the longest silence of publishing, and of delivery to any group.
func (f StepFigures) Longest() (publishing, delivery time.Duration) {
	for _, silences := range f.Delivery {
		delivery = max(delivery, Longest(silences).Length)
	}
	return Longest(f.Publishing).Length, delivery
}

// String returns a line, and one for each partition.
func (f StepFigures) String() string {
	var b strings.Builder
	publishing, delivery := f.Longest()
	fmt.Fprintf(&b, "%-32s took %5.1f s: longest silence publishing %5.2f s, delivery %5.2f s; acknowledged %d, unknown %d, failed %d, duplicated %d",
		f.Name, (f.To - f.From).Seconds(), publishing.Seconds(), delivery.Seconds(), f.Acknowledged, f.Unknown, f.Failed, f.Duplicated)
	for i, m := range f.Marks {
		fmt.Fprintf(&b, "%s%s at %+.1f s", [...]string{"\n    ", ", "}[min(i, 1)], m.Name, (m.At - f.From).Seconds())
	}
	groups := slices.Sorted(maps.Keys(f.Delivery))
	for p, s := range f.Publishing {
		fmt.Fprintf(&b, "\n    partition %d: publishing %s", p, f.silence(s))
		for _, g := range groups {
			fmt.Fprintf(&b, "; delivery %s", f.silence(f.Delivery[g][p]))
		}
	}
	return b.String()
}

// silence says how long, and from when in the step.
func (f StepFigures) silence(s Silence) string {
	return fmt.Sprintf("%5.2f s (from %+.2f s)", s.Length.Seconds(), (s.From - f.From).Seconds())
}

// Report returns the figures of every step of a run's history. partitions is how many the
// topic has; groups are as for [Check].
func Report(h *History, partitions int32, groups ...string) []StepFigures {
	if len(groups) == 0 {
		groups = h.groups()
	}
	events := h.snapshot()
	all := make([]StepFigures, len(h.Steps))
	for i, step := range h.Steps {
		f := StepFigures{Step: step, Publishing: Silences(h, Publishing, partitions, step.From, step.To), Delivery: make(map[string][]Silence)}
		for _, g := range groups {
			f.Delivery[g] = Silences(h, g, partitions, step.From, step.To)
		}
		all[i] = f
	}
	type delivery struct {
		group   string
		message Message
	}
	handled := make(map[delivery]bool)
	for _, e := range events {
		again := false
		if e.Kind == Handled {
			d := delivery{e.Group, e.Message}
			again = handled[d]
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
			case again:
				all[i].Duplicated++
			}
		}
	}
	return all
}
