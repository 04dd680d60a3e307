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
	"github.com/trunkline/trunkline/bus/hook"
)

// Message is a published message as a [Recorder] recorded it. It shares the payload with the
// recorder, so the payload must not be changed.
type Message struct {
	Topic string
	// Partition and Offset are the message's place in the log, -1 if it is not known.
	Partition int32
	Offset    int64
	UUID      string
	// Key is "" if the message has no key.
	Key string
	// Headers are the message's metadata, without the directives for publishing such as its
	// partition. It is never nil.
	Headers map[string]string
	Payload []byte
	// Err is nil for a message in the log and for a successful delivery. For any other message
	// it says why the message is not in the log, or that the outcome is unknown. For a
	// delivery it is the error that the handler returned.
	Err error

	byTest bool // the test itself published it
	number int  // unique within the recorder
}

// Delivery is one delivery of a message to a handler, recorded when the handler returned.
type Delivery struct {
	Message
	// Group is "" for a subscription without a group.
	Group string
	// Attempt counts the deliveries of the message by its subscription, from 1.
	Attempt int
	// Count counts the deliveries of the message to any member of its group, from 1. Without
	// a group it is equal to Attempt.
	Count int
	// Duration is how long the handler ran.
	Duration time.Duration
}

// Commit is one commit of a group's offset.
type Commit struct {
	Topic, Group string
	Partition    int32
	// Offset is the committed offset: every record below it is acknowledged.
	Offset int64
	// Err is nil for a successful commit.
	Err error
}

// String returns the message as one line. It shortens long values.
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

// place returns the message's place in the log.
func (m Message) place() string {
	if m.Offset < 0 {
		return m.Topic + " (not in the log)"
	}
	return fmt.Sprintf("%s[%d]@%d", m.Topic, m.Partition, m.Offset)
}

// String returns the delivery as one line. It shortens long values.
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

// text returns about limit bytes of a payload: text unchanged, other payloads in hexadecimal.
func text(payload []byte, limit int) string {
	if !readable(payload) {
		n := min(len(payload), limit/2)
		s := fmt.Sprintf("0x%x", payload[:n])
		if n < len(payload) {
			s += fmt.Sprintf("… (%d bytes)", len(payload))
		}
		return s
	}
	if len(payload) == 0 {
		return "(empty)"
	}
	return excerpt(strings.ReplaceAll(string(payload), "\n", "⏎"), limit)
}

func readable(payload []byte) bool {
	return utf8.Valid(payload) &&
		!strings.ContainsFunc(string(payload), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' })
}

// excerpt shortens s to at most n bytes, between characters, and appends the full length.
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

func messageOfPublish(e hook.PublishEvent) Message {
	m := Message{Topic: e.Topic, Partition: e.Outcome.Partition, Offset: e.Outcome.Offset, Headers: map[string]string{}, Err: e.Outcome.Err}
	if m.Err != nil {
		m.Partition, m.Offset = -1, -1
	}
	if e.Message == nil {
		return m
	}
	m.UUID, m.Key, m.Payload = e.Message.UUID, bus.KeyOf(e.Message), slices.Clone(e.Message.Payload)
	for name, value := range e.Message.Metadata {
		if !driver.IsDirective(name) {
			m.Headers[name] = value
		}
	}
	_, m.byTest = e.Message.Context().Value(byTestKey{}).(bool)
	return m
}

func deliveryOf(e hook.DeliveryEvent) Delivery {
	r := e.Record
	d := Delivery{Group: e.Group, Attempt: e.Attempt, Duration: e.Duration, Message: Message{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, UUID: r.UUID, Key: string(r.Key),
		Headers: make(map[string]string, len(r.Headers)), Payload: r.Payload, Err: e.Err}}
	for _, h := range r.Headers {
		d.Headers[h.Key] = h.Value
	}
	return d
}

// byTestKey marks the context of a message that the test itself publishes.
type byTestKey struct{}
