package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Figures are the counts of a whole history.
type Figures struct {
	// Published is the number of published messages. Acknowledged, Unknown and Failed count their
	// outcomes. Resolved counts the messages that were first unknown and then acknowledged; they are
	// part of Unknown, not of Acknowledged.
	Published, Acknowledged, Unknown, Resolved, Failed int
	// Lost is the number of acknowledged messages that are not in the log, or that one of the groups
	// has not handled.
	Lost int
	// Groups has the figures of each group.
	Groups map[string]GroupFigures
}

// GroupFigures are the counts of one group.
type GroupFigures struct {
	Handled       int // messages that were handled at least once
	Repeated      int // how often a message was handled again
	HandlerErrors int // how often a handler returned an error
	Claims        int // claims with at least one delivery
	Commits       int // successful commits
	FailedCommits int // commits that returned an error
}

// Count returns the figures of a complete history. groups has the same meaning as for [Check].
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
		case Started:
			if !claims[e.Claim] {
				claims[e.Claim] = true
				g.Claims++
			}
		case Handled:
			switch {
			case !known:
			case handled[e.Group][e.Message]:
				g.Repeated++
			default:
				handled[e.Group][e.Message] = true
				g.Handled++
			}
		case HandlerFailed:
			g.HandlerErrors++
		case Committed:
			g.Commits++
		case CommitFailed:
			g.FailedCommits++
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

// String returns a line for the publishers and a line for each group.
func (f Figures) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "published %d, acknowledged %d, unknown %d (%d of them acknowledged later), failed %d, lost %d",
		f.Published, f.Acknowledged, f.Unknown, f.Resolved, f.Failed, f.Lost)
	for _, name := range slices.Sorted(maps.Keys(f.Groups)) {
		g := f.Groups[name]
		fmt.Fprintf(&b, "\ngroup %s: handled %d, handled again %d, handler errors %d, claims %d, commits %d (and %d failed)",
			name, g.Handled, g.Repeated, g.HandlerErrors, g.Claims, g.Commits, g.FailedCommits)
	}
	return b.String()
}
