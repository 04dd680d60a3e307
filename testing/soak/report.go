package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what came of a run.
type Report struct {
	Seed uint64
	// Published messages are in the log; Handled of them were handled without an error;
	// DeadLettered are in the dead-letter topic; Lost are neither.
	Published, Handled, DeadLettered, Lost int
	// Handlings is how often a handler ran, Failed how often it failed on purpose, and
	// Redelivered how often it ran for a message that had been handled or dead-lettered.
	Handlings, Failed, Redelivered int
	// Events is how often each event happened.
	Events map[string]int
	// Silence is the longest time in which no message was handled that had not been
	// before; what the members take to get going is part of it.
	Silence time.Duration
	// Duration is that of the run, closing included.
	Duration time.Duration
	// Violations are the rules that were broken, in words; the first 20, and how many more.
	Violations []string
}

func (r *run) report(deadLetters map[int]int) *Report {
	lost := r.tally.settle(deadLetters)
	rules := r.tally.rules()
	t := r.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Report{
		Seed: r.plan.Seed, Published: t.published, Handled: t.count - len(t.dead), DeadLettered: len(t.dead), Lost: lost,
		Handlings: t.runs, Failed: t.failed, Redelivered: t.again, Events: r.happened, Silence: t.silence, Violations: rules,
	}
}

// String returns the report in a few lines.
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
	fmt.Fprintf(&b, "longest silence %v, duration %v", r.Silence.Round(time.Millisecond), r.Duration.Round(time.Millisecond))
	for _, v := range r.Violations {
		b.WriteString("\n" + v)
	}
	return b.String()
}
