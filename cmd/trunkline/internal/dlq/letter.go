package dlq

import (
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
)

// Place is the partition and offset of a record.
type Place struct {
	Partition int32
	Offset    int64
}

// String returns partition:offset, which ParsePlace parses.
func (p Place) String() string {
	return strconv.Itoa(int(p.Partition)) + ":" + strconv.FormatInt(p.Offset, 10)
}

// ParsePlace parses partition:offset.
func ParsePlace(s string) (Place, bool) {
	partition, offset, ok := strings.Cut(s, ":")
	p, err1 := strconv.ParseInt(partition, 10, 32)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	return Place{int32(p), o}, ok && err1 == nil && err2 == nil && p >= 0 && o >= 0
}

// Letter is one dead letter.
type Letter struct {
	Place
	// Time is the timestamp of the original message.
	Time time.Time
	Key  string
	UUID string
	// Origin is the topic of the original message, and From its place there. Origin is ""
	// for a record that is not a dead letter.
	Origin string
	From   Place
	Group  string
	Code   string
	Cause  string
	// Headers are those of the original message.
	Headers []bus.Header
	Payload []byte
}

const prefix = "trunkline-dead-letter-"

// Read returns the letter in a record.
func Read(r *bus.Record) *Letter {
	l := &Letter{Place: Place{r.Partition, r.Offset}, From: Place{-1, -1}, Time: r.Timestamp, Key: string(r.Key), UUID: r.UUID, Payload: r.Payload}
	for _, h := range r.Headers {
		switch h.Key {
		case deadletter.TopicHeader:
			l.Origin = h.Value
		case deadletter.PartitionHeader:
			if p, err := strconv.ParseInt(h.Value, 10, 32); err == nil {
				l.From.Partition = int32(p)
			}
		case deadletter.OffsetHeader:
			if o, err := strconv.ParseInt(h.Value, 10, 64); err == nil {
				l.From.Offset = o
			}
		case deadletter.GroupHeader:
			l.Group = h.Value
		case deadletter.CodeHeader:
			l.Code = h.Value
		case deadletter.CauseHeader:
			l.Cause = h.Value
		default:
			if !strings.HasPrefix(h.Key, prefix) {
				l.Headers = append(l.Headers, h)
			}
		}
	}
	return l
}

// Message returns the original message, without its place and time.
func (l *Letter) Message() *message.Message {
	m := message.NewMessage(l.UUID, l.Payload)
	for _, h := range l.Headers {
		m.Metadata.Set(h.Key, h.Value)
	}
	bus.SetKey(m, l.Key)
	return m
}
