package chaos

import (
	"fmt"
	"sync"
	"time"
)

// Message names a published message: the Number-th of its key, from 1 on.
type Message struct {
	Key    string
	Number int64
}

// String returns key and number.
func (m Message) String() string { return fmt.Sprintf("%s#%d", m.Key, m.Number) }

// Place is where a record stands in the topic.
type Place struct {
	Partition int32
	Offset    int64
}

// String returns partition and offset.
func (p Place) String() string { return fmt.Sprintf("%d@%d", p.Partition, p.Offset) }

// Kind says what happened.
type Kind uint8

// What happens to messages.
const (
	// Published: a publisher is about to hand the message over.
	Published Kind = iota
	// Acknowledged: the log has it, at Place; its offset is -1 when that was not told. It
	// may come after Unknown, and then counts all the same.
	Acknowledged
	// Failed: the publisher was told that the message is not in the log.
	Failed
	// Unknown: the publisher was told that it may or may not be in the log.
	Unknown
	// Begun: a handler was called with it.
	Begun
	// Handled: the handler returned without an error.
	Handled
	// Refused: the handler returned an error.
	Refused
	// Committed: Place.Offset has become the group's position. Message is empty.
	Committed
	// Uncommitted: an attempt to commit Place.Offset that failed, perhaps only as far as
	// is known.
	Uncommitted
)

// Event is one thing that happened. Group and Claim are for what happens to a
// consumer; Claim numbers the claims of all groups, from 1 on, and is 0 for commits.
type Event struct {
	At      time.Duration // since the history began
	Kind    Kind
	Message Message
	Place   Place
	Group   string
	Claim   int
}

// Entry is a record of the log, as read from the brokers.
type Entry struct {
	Message Message
	Place   Place
}

// History is what happened, in order, and the log and the groups' positions that were
// found at the end. Record may be called from many goroutines at once; everything
// else is for when they have stopped. The zero History has nothing in it.
type History struct {
	// Log is the whole topic, by partition and offset.
	Log []Entry
	// Positions are what the brokers hold as the groups' positions at the end, by group
	// and partition.
	Positions map[string]map[int32]int64
	// Steps are what was done meanwhile, in order, as far as a Run did it.
	Steps []Step
	// Reasons counts the errors that publishers and commits met with, by operation, code
	// and reason, for people to read.
	Reasons map[string]int

	mu     sync.Mutex
	began  time.Time
	events []Event
}

// Record appends an event and sets its time.
func (h *History) Record(e Event) { h.record(e) }

func (h *History) record(events ...Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.since()
	for _, e := range events {
		e.At = at
		h.events = append(h.events, e)
	}
}

// now returns the time since the history began.
func (h *History) now() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since()
}

// since needs h.mu.
func (h *History) since() time.Duration {
	if h.began.IsZero() {
		h.began = time.Now()
	}
	return time.Since(h.began)
}

// snapshot returns the events so far. They are never changed, only added to.
func (h *History) snapshot() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[:len(h.events):len(h.events)]
}

// groups returns the groups that handled, or were found to have committed, anything.
func (h *History) groups() []string {
	seen := make(map[string]bool)
	var names []string
	add := func(name string) {
		if name != "" && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, e := range h.snapshot() {
		add(e.Group)
	}
	for name := range h.Positions {
		add(name)
	}
	return names
}
