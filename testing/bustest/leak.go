package bustest

import (
	"bytes"
	"context"
	"crypto/rand"
	"runtime/pprof"
	"strings"
	"time"
)

// leakCheck finds the goroutines of one test by a label, which goroutines inherit.
type leakCheck struct{ value string }

const leakLabel = "trunkline-bustest"

// labelGoroutine labels the calling goroutine.
func labelGoroutine() *leakCheck {
	l := &leakCheck{value: rand.Text()}
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(leakLabel, l.value)))
	return l
}

// wait removes the label from the calling goroutine, waits until no goroutine has the label, and
// returns the stacks of those that still have it at the timeout.
func (l *leakCheck) wait(timeout time.Duration) (left string) {
	if l == nil {
		return ""
	}
	pprof.SetGoroutineLabels(context.Background())
	for deadline := time.Now().Add(timeout); ; time.Sleep(pollInterval) {
		if left = l.labeled(); left == "" || time.Now().After(deadline) {
			return left
		}
	}
}

// labeled returns the stacks of the goroutines with the label.
func (l *leakCheck) labeled() string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return err.Error()
	}
	var found []string
	for stack := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(stack, l.value) {
			found = append(found, functions(stack))
		}
	}
	return strings.Join(found, "\n")
}

// functions reduces a stack to function names and positions. A line of a stack is
// "#	0x1234	main.work+0x56	/dir/main.go:78".
func functions(stack string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(stack, "\n") {
		if fields := strings.Fields(line); len(fields) >= 4 && fields[0] == "#" && strings.HasPrefix(fields[1], "0x") {
			name, _, _ := strings.Cut(fields[2], "+0x")
			b.WriteString("  " + name + "  " + fields[3] + "\n")
		}
	}
	return b.String()
}
