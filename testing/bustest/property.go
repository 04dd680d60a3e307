package bustest

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/bus"
)

// Property is something about a message. Given to [Kit.Publish] it is what the message
// gets; given to [Kit.Expect] and its like it is what the message has to have. The comment
// of each says when it is for one of them only; the other then fails the test. It is
// immutable.
type Property struct {
	name string // as failure messages have it: key "o-7"
	// set gives it to a message; nil when it can't be given.
	set func(*message.Message) error
	// unlike says how a message differs, "" when it has the property; nil when it can't be
	// looked for.
	unlike func(*Delivery) string
	// deliveries: only a delivery has it.
	deliveries bool
}

// Key is the message's key.
func Key(key string) Property {
	return Property{
		name: "key " + strconv.Quote(key),
		set:  func(m *message.Message) error { bus.SetKey(m, key); return nil },
		unlike: func(d *Delivery) string {
			switch d.Key {
			case key:
				return ""
			case "":
				return "it has no key"
			default:
				return "its key is " + strconv.Quote(d.Key)
			}
		},
	}
}

// Payload is the payload, byte by byte.
func Payload[T ~string | ~[]byte](payload T) Property {
	want := []byte(payload)
	return Property{
		name: "payload " + text(want, 200),
		set:  func(m *message.Message) error { m.Payload = bytes.Clone(want); return nil },
		unlike: func(d *Delivery) string {
			if bytes.Equal(d.Payload, want) {
				return ""
			}
			return "its payload is " + text(d.Payload, 200)
		},
	}
}

// Header is a header and its value.
func Header(name, value string) Property {
	return Property{
		name: fmt.Sprintf("header %s: %s", name, value),
		set:  func(m *message.Message) error { m.Metadata.Set(name, value); return nil },
		unlike: func(d *Delivery) string {
			got, ok := d.Headers[name]
			switch {
			case !ok:
				return "it has no header " + name
			case got != value:
				return fmt.Sprintf("its header %s is %s", name, excerpt(got, 200))
			default:
				return ""
			}
		},
	}
}

// HasHeader is a header, whatever its value. It can't be given.
func HasHeader(name string) Property {
	return Property{name: "a header " + name, unlike: func(d *Delivery) string {
		if _, ok := d.Headers[name]; ok {
			return ""
		}
		return "it has no header " + name
	}}
}

// UUID is watermill's id of the message. One that is given none gets a random one.
func UUID(uuid string) Property {
	return Property{
		name: "UUID " + uuid,
		set:  func(m *message.Message) error { m.UUID = uuid; return nil },
		unlike: func(d *Delivery) string {
			if d.UUID == uuid {
				return ""
			}
			return "its UUID is " + d.UUID
		},
	}
}

// Partition is where the message goes, or is.
func Partition(id int32) Property {
	return Property{
		name: fmt.Sprintf("partition %d", id),
		set:  func(m *message.Message) error { bus.SetPartition(m, id); return nil },
		unlike: func(d *Delivery) string {
			if d.Partition == id {
				return ""
			}
			return fmt.Sprintf("it is in partition %d", d.Partition)
		},
	}
}

// Time is the message's timestamp. It can only be given.
func Time(at time.Time) Property {
	return Property{name: "time " + at.Format(time.RFC3339Nano), set: func(m *message.Message) error {
		bus.SetTimestamp(m, at)
		return nil
	}}
}

// Proto is a payload that decodes to a message equal to want.
func Proto(want proto.Message) Property {
	return Property{
		name: fmt.Sprintf("%s {%v}", want.ProtoReflect().Descriptor().FullName(), want),
		set: func(m *message.Message) (err error) {
			m.Payload, err = proto.Marshal(want)
			return err
		},
		unlike: func(d *Delivery) string {
			got := want.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(d.Payload, got); err != nil {
				return "its payload does not decode: " + oneLine(err)
			}
			if proto.Equal(got, want) {
				return ""
			}
			return fmt.Sprintf("its payload is {%v}", got)
		},
	}
}

// That is whatever holds says; what tells people what that is. It can't be given.
func That(what string, holds func(Message) bool) Property {
	return Property{name: what, unlike: func(d *Delivery) string {
		if holds(d.Message) {
			return ""
		}
		return "it is not so: " + what
	}}
}

// DeadLetterFrom is a dead letter of a message of this topic. It can't be given.
func DeadLetterFrom(topic string) Property {
	p := Header(bus.DeadLetterTopicHeader, topic)
	p.name, p.set = "a dead letter from "+strconv.Quote(topic), nil
	return p
}

// DeadLetterCode is a dead letter whose cause has this code. It can't be given.
func DeadLetterCode(code bus.Code) Property {
	p := Header(bus.DeadLetterCodeHeader, code.String())
	p.name, p.set = "a dead letter because of "+code.String(), nil
	return p
}

// Acknowledged is a delivery whose handler returned nil. It is for deliveries.
func Acknowledged() Property {
	return ofDeliveries("acknowledged", func(d *Delivery) string {
		if d.Err == nil {
			return ""
		}
		return "it was not acknowledged"
	})
}

// Unacknowledged is a delivery whose handler returned an error with this code; with
// [bus.CodeUnknown] any error that has none. It is for deliveries.
func Unacknowledged(code bus.Code) Property {
	return ofDeliveries("not acknowledged ("+code.String()+")", func(d *Delivery) string {
		switch {
		case d.Err == nil:
			return "it was acknowledged"
		case bus.CodeOf(d.Err) != code:
			return "its code is " + bus.CodeOf(d.Err).String()
		default:
			return ""
		}
	})
}

// Answered is a delivery whose handler asked for this: bus.AnswerDrop is that of a message
// that was dropped, for one. It is for deliveries.
func Answered(answer bus.Answer) Property {
	return ofDeliveries("answered "+answer.String(), func(d *Delivery) string {
		if got, _ := bus.AnswerOf(d.Err); got != answer {
			return "it was answered " + got.String()
		}
		return ""
	})
}

// Redelivered is a delivery of a message that the group was given before, by this
// subscription or another. It is for deliveries.
func Redelivered() Property {
	return ofDeliveries("delivered again", func(d *Delivery) string {
		if d.Count > 1 {
			return ""
		}
		return "it is the first delivery"
	})
}

// ToGroup is a delivery to this group, "" for a subscription without one. It is for
// deliveries.
func ToGroup(group string) Property {
	return ofDeliveries("to group "+strconv.Quote(group), func(d *Delivery) string {
		if d.Group == group {
			return ""
		}
		return "it went to group " + strconv.Quote(d.Group)
	})
}

func ofDeliveries(name string, unlike func(*Delivery) string) Property {
	return Property{name: name, unlike: unlike, deliveries: true}
}
