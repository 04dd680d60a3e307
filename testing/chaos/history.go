package chaos

import (
	"fmt"
	"sync"
	"time"
)

// Message identifies a published message by its key and its number among the messages of the key,
// from 1.
type Message struct {
	Key    string
	Number int64
}

// String returns the message as key#number.
func (m Message) String() string { return fmt.Sprintf("%s#%d", m.Key, m.Number) }

// Place is the place of a record in the topic.
type Place struct {
	Partition int32
	Offset    int64
}

// String returns the place as partition@offset.
func (p Place) String() string { return fmt.Sprintf("%d@%d", p.Partition, p.Offset) }

// Kind is the kind of an [Event].
type Kind uint8

// The kinds of events.
const (
	// Published: a publisher is about to publish the message.
	Published Kind = iota
	// Acknowledged: the message is in the log at Place. The offset is -1 if the outcome did not
	// contain it. This event can follow Unknown.
	Acknowledged
	// Failed: the publisher received an outcome that says that the message is not in the log.
	Failed
	// Unknown: the publisher received an outcome that says that the message may be in the log.
	Unknown
	// Started: the bus called a handler with the message.
	Started
	// Handled: the handler returned nil.
	Handled
	// HandlerFailed: the handler returned an error.
	HandlerFailed
	// Committed: the group has committed Place.Offset. Message is empty.
	Committed
	// CommitFailed: a commit of Place.Offset returned an error. It may have succeeded on the broker.
	CommitFailed
)

// Event is one event of a history. Group and Claim are set for the events of a consumer. Claim numbers
// the claims of all groups, from 1; it is 0 for commits.
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

// History has the events of a run in order, and the log and the committed offsets at its end. Record is
// safe for concurrent use. Use everything else only after the last call of Record has returned. The
// zero History is empty and ready to use.
type History struct {
	// Log is the whole topic, by partition and offset.
	Log []Entry
	// Committed are the committed offsets that the brokers have at the end, by group and partition.
	Committed map[string]map[int32]int64
	// Steps are the steps of the run, in order.
	Steps []Step
	// Errors counts the errors of publishers and commits, by operation, code and reason. Check does
	// not use it.
	Errors map[string]int

	mu     sync.Mutex
	began  time.Time
	events []Event
}

// Record appends an event and sets its time.
func (h *History) Record(e Event) { h.record(e) }

func (h *History) record(events ...Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.elapsed()
	for _, e := range events {
		e.At = at
		h.events = append(h.events, e)
	}
}

// now returns the time since the history began.
func (h *History) now() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.elapsed()
}

// elapsed is now for a caller that holds mu. The first call begins the history.
func (h *History) elapsed() time.Duration {
	if h.began.IsZero() {
		h.began = time.Now()
	}
	return time.Since(h.began)
}

// snapshot returns the events so far. The caller must not change them.
func (h *History) snapshot() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[:len(h.events):len(h.events)]
}

// groups returns the groups that have an event or a committed offset.
func (h *History) groups() []string {
	found := make(map[string]bool)
	var names []string
	add := func(name string) {
		if name != "" && !found[name] {
			found[name] = true
			names = append(names, name)
		}
	}
	for _, e := range h.snapshot() {
		add(e.Group)
	}
	for name := range h.Committed {
		add(name)
	}
	return names
}
