package bustest

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Property is a property of a message, such as its key or its payload. [Kit.Publish] sets the
// property on the message; [Kit.Expect], [Kit.ExpectDelivered] and [Stub.Expect] look for a
// message that has it. Some properties can only be set, or only be expected; the test fails
// otherwise. A Property is immutable.
type Property struct {
	name string // for failure messages: key "o-7"
	// set sets the property on a message. It is nil if the property can only be expected.
	set func(*message.Message) error
	// mismatch returns how a message differs, or "" if it has the property. It is nil if the
	// property can only be set.
	mismatch func(*Delivery) string
	// deliveryOnly marks a property that only deliveries have.
	deliveryOnly bool
}

// Key is the key of a message.
func Key(key string) Property {
	return Property{
		name: "key " + strconv.Quote(key),
		set:  func(m *message.Message) error { bus.SetKey(m, key); return nil },
		mismatch: func(d *Delivery) string {
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

// Payload is a payload with exactly these bytes.
func Payload[T ~string | ~[]byte](payload T) Property {
	want := []byte(payload)
	return Property{
		name: "payload " + text(want, 200),
		set:  func(m *message.Message) error { m.Payload = bytes.Clone(want); return nil },
		mismatch: func(d *Delivery) string {
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
		mismatch: func(d *Delivery) string {
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

// HasHeader is a header with any value. It can only be expected.
func HasHeader(name string) Property {
	return Property{name: "a header " + name, mismatch: func(d *Delivery) string {
		if _, ok := d.Headers[name]; ok {
			return ""
		}
		return "it has no header " + name
	}}
}

// UUID is the watermill UUID of a message. A message that is published without it gets a random
// UUID.
func UUID(uuid string) Property {
	return Property{
		name: "UUID " + uuid,
		set:  func(m *message.Message) error { m.UUID = uuid; return nil },
		mismatch: func(d *Delivery) string {
			if d.UUID == uuid {
				return ""
			}
			return "its UUID is " + d.UUID
		},
	}
}

// Partition is the partition that a message is published to, or is in.
func Partition(id int32) Property {
	return Property{
		name: fmt.Sprintf("partition %d", id),
		set:  func(m *message.Message) error { bus.SetPartition(m, id); return nil },
		mismatch: func(d *Delivery) string {
			if d.Partition == id {
				return ""
			}
			return fmt.Sprintf("it is in partition %d", d.Partition)
		},
	}
}

// Timestamp is the timestamp of a message. It can only be set.
func Timestamp(at time.Time) Property {
	return Property{name: "timestamp " + at.Format(time.RFC3339Nano), set: func(m *message.Message) error {
		bus.SetTimestamp(m, at)
		return nil
	}}
}

// Proto is a Protobuf payload that is equal to want after decoding.
func Proto(want proto.Message) Property {
	return Property{
		name: fmt.Sprintf("%s {%v}", want.ProtoReflect().Descriptor().FullName(), want),
		set: func(m *message.Message) (err error) {
			m.Payload, err = proto.Marshal(want)
			return err
		},
		mismatch: func(d *Delivery) string {
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

// Matching is a property that match decides. Failure messages use the description. It can only
// be expected.
func Matching(description string, match func(Message) bool) Property {
	return Property{name: description, mismatch: func(d *Delivery) string {
		if match(d.Message) {
			return ""
		}
		return "it does not match: " + description
	}}
}

// DeadLetterFrom is a dead letter of a message of this topic. It can only be expected.
func DeadLetterFrom(topic string) Property {
	p := Header(deadletter.TopicHeader, topic)
	p.name, p.set = "a dead letter from "+strconv.Quote(topic), nil
	return p
}

// DeadLetterCode is a dead letter whose cause has this code. It can only be expected.
func DeadLetterCode(code bus.Code) Property {
	p := Header(deadletter.CodeHeader, code.String())
	p.name, p.set = "a dead letter with code "+code.String(), nil
	return p
}

// Acknowledged is a delivery whose handler returned nil. It can only be expected, of deliveries.
func Acknowledged() Property {
	return deliveryProperty("acknowledged", func(d *Delivery) string {
		if d.Err == nil {
			return ""
		}
		return "it was not acknowledged"
	})
}

// FailedWith is a delivery whose handler returned an error with this code. An error without a
// code has [bus.CodeUnknown]. It can only be expected, of deliveries.
func FailedWith(code bus.Code) Property {
	return deliveryProperty("failed with "+code.String(), func(d *Delivery) string {
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

// DeadLettered is a delivery whose handler returned [bus.DeadLetter]. A managed consumer returns it
// for a message that has failed too often. It can only be expected, of deliveries.
func DeadLettered() Property { return answered("dead-lettered", delivery.DeadLetter) }

// Dropped is a delivery whose handler returned [bus.Drop]. It can only be expected, of deliveries.
func Dropped() Property { return answered("dropped", delivery.Drop) }

// Retried is a delivery whose handler returned [bus.RetryAfter]. It can only be expected, of
// deliveries.
func Retried() Property { return answered("retried", delivery.Retry) }

func answered(name string, want delivery.Answer) Property {
	return deliveryProperty(name, func(d *Delivery) string {
		switch got, _ := delivery.AnswerOf(d.Err); got {
		case want:
			return ""
		case delivery.Ack:
			return "it was acknowledged"
		default:
			return "its handler returned: " + excerpt(oneLine(d.Err), 200)
		}
	})
}

// Redelivered is a delivery that is not the first one of its message to the group, by this
// subscription or another. It can only be expected, of deliveries.
func Redelivered() Property {
	return deliveryProperty("redelivered", func(d *Delivery) string {
		if d.Count > 1 {
			return ""
		}
		return "it is the first delivery"
	})
}

// ToGroup is a delivery to this group; "" means a subscription without a group. It can only be
// expected, of deliveries.
func ToGroup(group string) Property {
	return deliveryProperty("to group "+strconv.Quote(group), func(d *Delivery) string {
		if d.Group == group {
			return ""
		}
		return "it went to group " + strconv.Quote(d.Group)
	})
}

func deliveryProperty(name string, mismatch func(*Delivery) string) Property {
	return Property{name: name, mismatch: mismatch, deliveryOnly: true}
}
