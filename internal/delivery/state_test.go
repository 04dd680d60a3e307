package delivery

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/trunkline/trunkline/bus/driver"
)

// TestState runs the scripts in testdata/state. Each command is an event or an inspection. The
// expected output is what the state machine decided. With the flag -rewrite the test writes the
// current output into the scripts; check the difference before you commit it.
//
//	config order=key window=64 ahead=1024 dead-letters settle-later commit-each at-most-once
//	admit            records come from the transport: a line "OFFSET KEY [undecodable]" each
//	take             a worker takes the first item that is ready, and begins it
//	return           handlers return: a line "OFFSET RESULT" each
//	dead-lettered    publishing a dead letter ended: a line "OFFSET ok|error"
//	pause-ended      a back-off ended: a line "OFFSET"
//	committed        the commit before the handler ended: a line "OFFSET ok|error"
//	settle           Settle is called: a line "OFFSET RESULT"
//	resume           the hooks were called after Settle: a line "OFFSET"
//	shut-down        from now on no handler may be called
//	show             the state as a whole
//
// RESULT is ok, error, retry=DURATION, dead-letter, drop, stop or later.
func TestState(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/state", func(t *testing.T, path string) {
		t.Parallel()
		m := &machine{mayStart: true, items: map[int64]*Item{}}
		m.config(nil)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return m.run(t, d) })
	})
}

// machine applies the commands of a script to a state.
type machine struct {
	state    state
	mayStart bool
	items    map[int64]*Item // by offset
}

func (m *machine) config(args []datadriven.CmdArg) {
	r := rules{order: Unordered, unacked: 64, ahead: 1024, lowest: 100 * time.Millisecond, highest: time.Second,
		jitter: func(bound time.Duration) time.Duration { return bound }}
	for _, a := range args {
		switch a.Key {
		case "order":
			r.order = map[string]Order{"partition": OrderByPartition, "key": OrderByKey, "none": Unordered}[a.Vals[0]]
		case "window":
			_, _ = fmt.Sscan(a.Vals[0], &r.unacked)
		case "ahead":
			_, _ = fmt.Sscan(a.Vals[0], &r.ahead)
		case "dead-letters":
			r.deadLetters = true
		case "settle-later":
			r.settleLater = true
		case "commit-each":
			r.commitEach = true
		case "at-most-once":
			r.atMostOnce = true
		}
	}
	m.state = newState(r, false)
}

func (m *machine) run(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	lines := strings.Split(strings.TrimSpace(d.Input), "\n")
	each := func(kind eventKind) {
		for _, line := range lines {
			var offset int64
			result := "ok"
			_, _ = fmt.Sscan(line, &offset, &result)
			m.step(t, d, &out, offset, event{kind: kind, err: resultOf(t, d, result), mayStart: m.mayStart})
		}
	}
	switch d.Cmd {
	case "config":
		m.config(d.CmdArgs)
	case "shut-down":
		m.mayStart = false
	case "admit":
		for _, line := range lines {
			m.admit(&out, line)
		}
	case "take":
		it := m.state.ready.pop()
		if it == nil {
			return "nothing is ready\n"
		}
		m.step(t, d, &out, it.record.Offset, event{kind: begin, mayStart: m.mayStart})
	case "return":
		each(returned)
	case "dead-lettered":
		each(deadLettered)
	case "pause-ended":
		each(pauseEnded)
	case "committed":
		each(committed)
	case "settle":
		each(settled)
	case "resume":
		for _, line := range lines {
			var offset int64
			_, _ = fmt.Sscan(line, &offset)
			m.step(t, d, &out, offset, event{kind: resumed, err: m.items[offset].outcome})
		}
	case "show":
		out.WriteString(m.show())
	default:
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	if out.Len() == 0 {
		return "ok\n"
	}
	return out.String()
}

func (m *machine) admit(out *strings.Builder, line string) {
	r := driver.Record{}
	var key, undecodable string
	_, _ = fmt.Sscan(line, &r.Offset, &key, &undecodable)
	if key != "" && key != "-" {
		r.Key = []byte(key)
	}
	if undecodable != "" {
		r.DecodeErr = errors.New("not a message")
	}
	if m.state.full() {
		fmt.Fprintf(out, "%d: the window is full\n", r.Offset)
		return
	}
	last := m.state.ready.last
	it := m.state.admit(&r)
	m.items[r.Offset] = it
	where := "waits for its key"
	if m.state.ready.last != last {
		where = "ready"
	}
	fmt.Fprintf(out, "%d: %s\n", r.Offset, where)
}

func (m *machine) step(t *testing.T, d *datadriven.TestData, out *strings.Builder, offset int64, e event) {
	it := m.items[offset]
	if it == nil {
		d.Fatalf(t, "there is no record %d", offset)
	}
	next := m.state.window.next
	a := m.state.step(it, e)
	fmt.Fprintf(out, "%d: %s", offset, a.do)
	switch a.do {
	case doPause:
		fmt.Fprintf(out, " %v", a.pause)
	case doDeliver:
		fmt.Fprintf(out, ", attempt %d", it.attempt)
	case doDeadLetter, doStop, doResume:
		fmt.Fprintf(out, ": %v", a.cause)
	}
	if a.moved != (m.state.window.next != next) {
		d.Fatalf(t, "moved is %v, but the offset to commit changed from %d to %d", a.moved, next, m.state.window.next)
	}
	if a.moved {
		fmt.Fprintf(out, ", commit %d", m.state.window.next)
	}
	if a.next != nil {
		fmt.Fprintf(out, ", continue with %d", a.next.record.Offset)
	}
	out.WriteString("\n")
	if a.next != nil {
		m.step(t, d, out, a.next.record.Offset, event{kind: begin, mayStart: m.mayStart})
	}
}

func (m *machine) show() string {
	var out strings.Builder
	s := &m.state
	fmt.Fprintf(&out, "commit %d, unacknowledged %d, held %d, full %v\n", s.window.next, s.window.unacked, s.window.held, s.full())
	for it := s.window.front; it != nil; it = it.nextInWindow {
		fmt.Fprintf(&out, "%d %s", it.record.Offset, it.phase)
		if it.acked {
			out.WriteString(", acknowledged")
		}
		out.WriteString("\n")
	}
	for it := s.ready.first; it != nil; it = it.nextReady {
		fmt.Fprintf(&out, "ready: %d\n", it.record.Offset)
	}
	return out.String()
}

func resultOf(t *testing.T, d *datadriven.TestData, result string) error {
	cause := errors.New("bad")
	switch name, value, _ := strings.Cut(result, "="); name {
	case "ok":
		return nil
	case "error":
		return cause
	case "retry":
		after, err := time.ParseDuration(value)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		return &Control{Answer: Retry, After: after, Err: cause}
	case "dead-letter":
		return &Control{Answer: DeadLetter, Err: cause}
	case "drop":
		return &Control{Answer: Drop, Err: cause}
	case "stop":
		return &Control{Answer: Stop, Err: cause}
	case "later":
		return ErrLater
	default:
		d.Fatalf(t, "unknown result %s", result)
		return nil
	}
}
