package chaos

import (
	"cmp"
	"slices"
	"time"
)

// Silence is a time in which nothing came through on one partition.
type Silence struct {
	Partition int32
	// From is when it began, since the history did, and Length how long it was.
	From, Length time.Duration
}

// Publishing is the stream of acknowledgements to publishers, for [Silences].
const Publishing = ""

// Silences returns the longest silence of each of the topic's partitions between from and
// to: of acknowledgements to publishers with [Publishing], otherwise of messages that the
// group handled for the first time. A silence that began before from, or goes on after
// to, counts from from, and up to to. They are in the order of partitions.
func Silences(h *History, stream string, partitions int32, from, to time.Duration) []Silence {
	longest := make([]Silence, partitions)
	last := make([]time.Duration, partitions)
	for p := range longest {
		longest[p].Partition = int32(p)
		last[p] = from
	}
	see := func(p int32, at time.Duration) {
		at = min(max(at, from), to)
		if at-last[p] > longest[p].Length {
			longest[p].From, longest[p].Length = last[p], at-last[p]
		}
		last[p] = at
	}
	seen := make(map[Message]bool)
	for _, e := range h.snapshot() {
		switch {
		case e.Place.Partition < 0 || e.Place.Partition >= partitions:
		case stream == Publishing && e.Kind == Acknowledged:
			see(e.Place.Partition, e.At)
		case stream != Publishing && e.Kind == Handled && e.Group == stream && !seen[e.Message]:
			seen[e.Message] = true
			see(e.Place.Partition, e.At)
		}
	}
	for p := range partitions {
		see(p, to)
	}
	return longest
}

// Longest returns the longest of silences, the zero Silence when there are none.
func Longest(silences []Silence) Silence {
	if len(silences) == 0 {
		return Silence{}
	}
	return slices.MaxFunc(silences, func(a, b Silence) int { return cmp.Compare(a.Length, b.Length) })
}
