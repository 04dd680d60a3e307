package dlq

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// NoteHeader is the header of a note: a record that lists letters of its partition that are
// done. The value of the header is the consumer group.
const NoteHeader = prefix + "note"

// note is the payload of a note.
type note struct {
	Group   string  `json:"group"`
	Verb    Verb    `json:"verb"`
	Offsets []int64 `json:"offsets"`
}

// readNote returns the note in a record, or nil if the record is not a note.
func readNote(r *bus.Record) *note {
	group, ok := r.Header(NoteHeader)
	if !ok {
		return nil
	}
	n := &note{}
	if json.Unmarshal(r.Payload, n) != nil || n.Group != group {
		return &note{} // not readable, but not a letter either
	}
	return n
}

func (n *note) publish(ctx context.Context, b *bus.Bus, topic string, partition int32) error {
	payload, err := json.Marshal(n)
	if err != nil {
		return err
	}
	m := message.NewMessage(watermill.NewUUID(), payload)
	m.Metadata.Set(NoteHeader, n.Group)
	bus.SetPartition(m, partition)
	m.SetContext(ctx)
	if err := b.Publish(topic, m); err != nil {
		return fmt.Errorf("write a note that offsets %v of partition %d are done: %w; the next run will repeat them", n.Offsets, partition, err)
	}
	return nil
}
