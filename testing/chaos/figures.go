package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Figures are the counts of a whole history.
type Figures struct {
	// Published is how many messages were handed over; Acknowledged, Unknown and Failed
	// what their publishers were told, and Resolved how many of the unknown ones were
	// acknowledged after all.
	Published, Acknowledged, Unknown, Resolved, Failed int
	// Lost is how many acknowledged messages are not in the log, or were not handled by one
	// of the groups.
	Lost int
	// Groups holds what each group did.
	Groups map[string]GroupFigures
}

// GroupFigures are the counts of one group.
type GroupFigures struct {
	Delivered  int // messages handled at least once
	Duplicated int // times that a message was handled once more
	Refused    int // times that a handler returned an error
	Claims     int // claims that delivered anything
	Commits    int // positions that were committed
	Failed     int // attempts to commit that failed
}

// Count returns the figures of a complete history. groups are as for [Check].
func Count(h *History, groups ...string) Figures {
	if len(groups) == 0 {
		groups = h.groups()
	}
	f := Figures{Groups: make(map[string]GroupFigures)}
	acknowledged, unknown := make(map[Message]bool), make(map[Message]bool)
	handled := make(map[string]map[Message]bool)
	claims := make(map[int]bool)
	for _, name := range groups {
		f.Groups[name] = GroupFigures{}
		handled[name] = make(map[Message]bool)
	}
	for _, e := range h.snapshot() {
		g, known := f.Groups[e.Group]
		switch e.Kind {
		case Published:
			f.Published++
		case Acknowledged:
			acknowledged[e.Message] = true
		case Failed:
			f.Failed++
		case Unknown:
			unknown[e.Message] = true
		case Begun:
			if !claims[e.Claim] {
				claims[e.Claim] = true
				g.Claims++
			}
		case Handled:
			switch {
			case !known:
			case handled[e.Group][e.Message]:
				g.Duplicated++
			default:
				handled[e.Group][e.Message] = true
				g.Delivered++
			}
		case Refused:
			g.Refused++
		case Committed:
			g.Commits++
		case Uncommitted:
			g.Failed++
		}
		if known {
			f.Groups[e.Group] = g
		}
	}
	f.Unknown = len(unknown)
	logged := make(map[Message]bool, len(h.Log))
	for _, e := range h.Log {
		logged[e.Message] = true
	}
	for m := range acknowledged {
		if unknown[m] {
			f.Resolved++
		} else {
			f.Acknowledged++
		}
		lost := !logged[m]
		for _, name := range groups {
			lost = lost || !handled[name][m]
		}
		if lost {
			f.Lost++
		}
	}
	return f
}

// String returns a line for the publishers and one for each group.
func (f Figures) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "published %d, acknowledged %d, unknown %d (%d of them in the log after all), failed %d, lost %d",
		f.Published, f.Acknowledged, f.Unknown, f.Resolved, f.Failed, f.Lost)
	for _, name := range slices.Sorted(maps.Keys(f.Groups)) {
		g := f.Groups[name]
		fmt.Fprintf(&b, "\ngroup %s: delivered %d, duplicated %d, refused by the handler %d, claims %d, commits %d (%d failed)",
			name, g.Delivered, g.Duplicated, g.Refused, g.Claims, g.Commits, g.Failed)
	}
	return b.String()
}
