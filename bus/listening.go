package bus

import "github.com/trunkline/trunkline/bus/driver"

// Listening says whether anybody is subscribed to the topic, in a group or not: true
// as soon as that may be so, false only when it is known that nobody is. CodeUnsupported
// where the transport can't know, which is the case of every broker: Kafka knows the
// members of groups, and not who reads without one. CodeNotFound for a topic that does
// not exist. It does not block.
func (b *Bus) Listening(topic string) (bool, error) {
	if topic == "" {
		return false, &Error{Code: CodeInvalidArgument, Op: "ask for listeners", Transport: b.caps.Name, Reason: "the topic's name is empty"}
	}
	l, ok := b.t.(driver.Listeners)
	if !ok {
		return false, &Error{Code: CodeUnsupported, Op: "ask for listeners", Transport: b.caps.Name, Topic: topic, Reason: "this transport does not know who is subscribed"}
	}
	return l.Listening(topic)
}
