package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is the result of a run.
type Report struct {
	Seed uint64
	// Published is the number of messages in the log. Handled counts those that were handled without an
	// error, DeadLettered those in the dead-letter topic, and Lost those that are neither.
	Published, Handled, DeadLettered, Lost int
	// Handlings is how often a handler was called, Failed how often it failed on purpose, and
	// Redelivered how often it was called for a message that was already done.
	Handlings, Failed, Redelivered int
	// Events counts the events by name.
	Events map[string]int
	// LongestOutage is the longest time in which no further message was done. It includes the time that
	// the members need to start.
	LongestOutage time.Duration
	// Duration is the duration of the run, including the closing of the members.
	Duration time.Duration
	// Violations describes the violations of the rules: the first 20, and the number of the others.
	Violations []string
}

func (r *run) report(deadLetters map[int]int) *Report {
	lost := r.checker.checkEnd(deadLetters)
	violations := r.checker.violationTexts()
	c := r.checker
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Report{
		Seed: r.plan.Seed, Published: c.published, Handled: c.doneCount - len(c.deadLettered), DeadLettered: len(c.deadLettered), Lost: lost,
		Handlings: c.handlings, Failed: c.failed, Redelivered: c.redelivered, Events: r.eventCounts, LongestOutage: c.longestOutage,
		Violations: violations,
	}
}

// String returns the report as a few lines.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d published, %d handled, %d dead-lettered, %d lost\n", r.Seed, r.Published, r.Handled, r.DeadLettered, r.Lost)
	fmt.Fprintf(&b, "%d handlings, %d failed (%.1f %%), %d redelivered\n", r.Handlings, r.Failed, 100*float64(r.Failed)/float64(max(1, r.Handlings)), r.Redelivered)
	total := 0
	var each []string
	for _, name := range slices.Sorted(maps.Keys(r.Events)) {
		total += r.Events[name]
		each = append(each, fmt.Sprintf("%s %d", name, r.Events[name]))
	}
	fmt.Fprintf(&b, "%d events: %s\n", total, strings.Join(each, ", "))
	fmt.Fprintf(&b, "longest outage %v, duration %v", r.LongestOutage.Round(time.Millisecond), r.Duration.Round(time.Millisecond))
	for _, v := range r.Violations {
		b.WriteString("\n" + v)
	}
	return b.String()
}
