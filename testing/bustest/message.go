package bustest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// Message is one message as a [Recorder] saw it. It is a copy; the bytes are shared with
// other copies and must not be changed.
type Message struct {
	Topic string
	// Partition and Offset say where it is, -1 when that is not known.
	Partition int32
	Offset    int64
	UUID      string
	// Key is "" when it has none.
	Key string
	// Headers are the metadata without what directs publishing; never nil.
	Headers map[string]string
	Payload []byte
	// Err says of a published message why it is not in the log, or that this is not
	// known; of a delivery what the handler returned. nil when all went well.
	Err error

	byTest bool // the kit's own Publish
	number int  // its place among what the recorder saw
}

// Delivery is one return of a handler.
type Delivery struct {
	Message
	// Group is "" for a subscription without one.
	Group string
	// Attempt is 1 for the first delivery by its subscription.
	Attempt int
	// Count is 1 for the first delivery to its group, whichever member had it, and counts
	// on when the message comes again. Without a group it is the Attempt.
	Count int
	// Duration is how long the handler ran.
	Duration time.Duration
}

// Commit is one commit of a group's position.
type Commit struct {
	Topic, Group string
	Partition    int32
	// Next is the position: everything below was to be acknowledged.
	Next int64
	// Err says why it was not made, nil when it was.
	Err error
}

// String returns the message in one line, cut off where it gets long.
func (m Message) String() string {
	var b strings.Builder
	b.WriteString(m.place())
	if m.Key != "" {
		fmt.Fprintf(&b, " key %q", excerpt(m.Key, 40))
	}
	if len(m.Headers) > 0 {
		b.WriteString(" {")
		for i, name := range slices.Sorted(maps.Keys(m.Headers)) {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s: %s", name, excerpt(m.Headers[name], 40))
		}
		b.WriteString("}")
	}
	b.WriteString(" " + text(m.Payload, 200))
	return b.String()
}

// place is where the message is.
func (m Message) place() string {
	if m.Offset < 0 {
		return m.Topic + " (not in the log)"
	}
	return fmt.Sprintf("%s[%d]@%d", m.Topic, m.Partition, m.Offset)
}

// String returns the delivery in one line.
func (d Delivery) String() string {
	s := d.Message.String()
	if d.Group != "" {
		s += " to group " + strconv.Quote(d.Group)
	}
	s += fmt.Sprintf(", attempt %d: ", d.Attempt)
	if d.Err == nil {
		return s + "acknowledged"
	}
	return s + excerpt(oneLine(d.Err), 200)
}

// text is a payload for people: as it is when it is readable, in hexadecimal otherwise.
func text(payload []byte, most int) string {
	if !readable(payload) {
		n := min(len(payload), most/2)
		s := fmt.Sprintf("0x%x", payload[:n])
		if n < len(payload) {
			s += fmt.Sprintf("… (%d bytes)", len(payload))
		}
		return s
	}
	if len(payload) == 0 {
		return "(empty)"
	}
	return excerpt(strings.ReplaceAll(string(payload), "\n", "⏎"), most)
}

func readable(payload []byte) bool {
	return utf8.Valid(payload) &&
		!strings.ContainsFunc(string(payload), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' })
}

// excerpt cuts s to about n bytes, between characters.
func excerpt(s string, n int) string {
	if len(s) <= n {
		return s
	}
	cut := n
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:cut], len(s))
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func ofPublish(e bus.PublishEvent) Message {
	m := Message{Topic: e.Topic, Partition: e.Outcome.Partition, Offset: e.Outcome.Offset, Headers: map[string]string{}, Err: e.Outcome.Err}
	if m.Err != nil {
		m.Partition, m.Offset = -1, -1
	}
	if e.Message == nil {
		return m
	}
	m.UUID, m.Key, m.Payload = e.Message.UUID, bus.Key(e.Message), slices.Clone(e.Message.Payload)
	for name, value := range e.Message.Metadata {
		if !driver.IsDirective(name) {
			m.Headers[name] = value
		}
	}
	_, m.byTest = e.Message.Context().Value(byTestKey{}).(bool)
	return m
}

func ofDelivery(e bus.DeliveryEvent) Delivery {
	r := e.Record
	d := Delivery{Group: e.Group, Attempt: e.Attempt, Duration: e.Duration, Message: Message{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, UUID: r.UUID, Key: string(r.Key),
		Headers: make(map[string]string, len(r.Headers)), Payload: r.Payload, Err: e.Err}}
	for _, h := range r.Headers {
		d.Headers[h.Key] = h.Value
	}
	return d
}

// byTestKey marks the context of what the test itself publishes.
type byTestKey struct{}
