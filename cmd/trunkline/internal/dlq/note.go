package dlq

import (
	"encoding/json"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// NoteHeader marks a record that is no dead letter but says which ones of its
// partition are dealt with. Its value is the group that did.
const NoteHeader = prefix + "note"

// note is such a record's payload.
type note struct {
	Group   string  `json:"group"`
	Verb    string  `json:"verb"`
	Offsets []int64 `json:"offsets"`
}

// readNote returns the note that a record is, nil for one that is none.
func readNote(r *bus.Record) *note {
	group, ok := r.Header(NoteHeader)
	if !ok {
		return nil
	}
	n := &note{}
	if json.Unmarshal(r.Payload, n) != nil || n.Group != group {
		return &note{} // it says nothing that can be understood, and is no letter
	}
	return n
}

func (n *note) publish(b *bus.Bus, topic string, partition int32) error {
	payload, err := json.Marshal(n)
	if err != nil {
		return err
	}
	m := message.NewMessage(watermill.NewUUID(), payload)
	m.Metadata.Set(NoteHeader, n.Group)
	bus.SetPartition(m, partition)
	if err := b.Publish(topic, m); err != nil {
		return fmt.Errorf("note what was dealt with, offsets %v of partition %d, which another run will do again: %w", n.Offsets, partition, err)
	}
	return nil
}
