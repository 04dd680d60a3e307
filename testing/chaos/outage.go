package chaos

import (
	"cmp"
	"slices"
	"time"
)

// Outage is a time in which one partition made no progress.
type Outage struct {
	Partition int32
	// From is when the outage began, since the history began. Length is how long it lasted.
	From, Length time.Duration
}

// Publishing selects the acknowledgements to publishers, for [Outages].
const Publishing = ""

// Outages returns the longest outage of each partition of the topic, in the order of the partitions. An
// outage is the time between two consecutive events: acknowledgements to publishers if stream is
// [Publishing], otherwise first deliveries to the group named stream. Only the time between from and to
// counts.
func Outages(h *History, stream string, partitions int32, from, to time.Duration) []Outage {
	longest := make([]Outage, partitions)
	last := make([]time.Duration, partitions)
	for p := range longest {
		longest[p].Partition = int32(p)
		last[p] = from
	}
	progressed := func(p int32, at time.Duration) {
		at = min(max(at, from), to)
		if at-last[p] > longest[p].Length {
			longest[p].From, longest[p].Length = last[p], at-last[p]
		}
		last[p] = at
	}
	handled := make(map[Message]bool)
	for _, e := range h.snapshot() {
		switch {
		case e.Place.Partition < 0 || e.Place.Partition >= partitions:
		case stream == Publishing && e.Kind == Acknowledged:
			progressed(e.Place.Partition, e.At)
		case stream != Publishing && e.Kind == Handled && e.Group == stream && !handled[e.Message]:
			handled[e.Message] = true
			progressed(e.Place.Partition, e.At)
		}
	}
	for p := range partitions {
		progressed(p, to)
	}
	return longest
}

// LongestOutage returns the longest of the outages, the zero Outage if there are none.
func LongestOutage(outages []Outage) Outage {
	if len(outages) == 0 {
		return Outage{}
	}
	return slices.MaxFunc(outages, func(a, b Outage) int { return cmp.Compare(a.Length, b.Length) })
}
