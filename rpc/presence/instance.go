package presence

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// Header is the header that makes a message an announcement.
const Header = "trunkline-presence"

const (
	here = "1 here"
	gone = "1 gone"
)

// What an announcement may have at the most.
const (
	maxPayload  = 32 << 10
	maxService  = 100
	maxID       = 200
	maxTopics   = 256
	maxTopic    = 255
	maxMetadata = 64
	maxTTL      = time.Hour
)

// Instance is one running instance of a service.
type Instance struct {
	// Service is the name of what it is an instance of; at most 100 bytes.
	Service string `json:"service"`
	// ID tells it from all other instances of the service; at most 200 bytes.
	ID string `json:"instance"`
	// Version is for people.
	Version string `json:"version,omitempty"`
	// Topics are those it serves.
	Topics []string `json:"topics,omitempty"`
	// Metadata is the user's.
	Metadata map[string]string `json:"metadata,omitempty"`
	// Started is when it was started, by its own clock.
	Started time.Time `json:"started,omitzero"`
}

func (i Instance) clone() Instance {
	i.Topics, i.Metadata = slices.Clone(i.Topics), maps.Clone(i.Metadata)
	return i
}

// check says what is wrong with it, nil when nothing is.
func (i *Instance) check() error {
	switch {
	case i.Service == "" || len(i.Service) > maxService:
		return fmt.Errorf("the service's name is empty or over %d bytes", maxService)
	case i.ID == "" || len(i.ID) > maxID:
		return fmt.Errorf("the instance's id is empty or over %d bytes", maxID)
	case len(i.Topics) > maxTopics:
		return fmt.Errorf("it has over %d topics", maxTopics)
	case slices.ContainsFunc(i.Topics, func(t string) bool { return t == "" || len(t) > maxTopic }):
		return fmt.Errorf("a topic's name is empty or over %d bytes", maxTopic)
	case len(i.Metadata) > maxMetadata:
		return fmt.Errorf("it has over %d entries of metadata", maxMetadata)
	}
	return nil
}

// Announcement is what one message says.
type Announcement struct {
	Instance
	// Gone: the instance has left. Otherwise it is there.
	Gone bool `json:"-"`
	// TTL is how long it holds unless another follows.
	TTL time.Duration `json:"-"`
}

type wireAnnouncement struct {
	Instance
	TTL int64 `json:"ttl_ms,omitempty"`
}

// Encode makes a message of it. It fails when a bound is broken.
func (a Announcement) Encode() (*message.Message, error) {
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	payload, err := json.Marshal(wireAnnouncement{a.Instance, a.TTL.Milliseconds()})
	if err != nil {
		return nil, fmt.Errorf("presence: encode the announcement: %w", err)
	}
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("presence: the announcement has %d bytes, the limit is %d: leave metadata out", len(payload), maxPayload)
	}
	m := message.NewMessage(watermill.NewUUID(), payload)
	m.Metadata.Set(Header, here)
	if a.Gone {
		m.Metadata.Set(Header, gone)
	}
	bus.SetKey(m, a.Service+"/"+a.ID)
	return m, nil
}

// Decode reads a message. Whatever is in it, Decode returns, and bounds what it
// accepts. The announcement keeps nothing of m.
func Decode(m *message.Message) (Announcement, error) {
	var w wireAnnouncement
	a := Announcement{TTL: 10 * time.Second}
	switch what := m.Metadata.Get(Header); {
	case what == gone:
		a.Gone = true
	case what != here:
		return a, errors.New("presence: not an announcement of a version that is known here")
	}
	if len(m.Payload) > maxPayload {
		return a, fmt.Errorf("presence: the announcement has %d bytes, the limit is %d", len(m.Payload), maxPayload)
	}
	if err := json.Unmarshal(m.Payload, &w); err != nil {
		return a, errors.New("presence: the announcement is not the JSON it should be")
	}
	if err := w.check(); err != nil {
		return a, fmt.Errorf("presence: %w", err)
	}
	switch {
	case w.TTL < 0 || w.TTL > maxTTL.Milliseconds():
		return a, errors.New("presence: ttl_ms is not from 1 to 3600000")
	case w.TTL > 0:
		a.TTL = time.Duration(w.TTL) * time.Millisecond
	}
	a.Instance = w.Instance
	if a.Started.Year() < 1970 || a.Started.Year() > 9999 {
		a.Started = time.Time{}
	}
	return a, nil
}

func compareInstances(a, b Instance) int {
	if c := strings.Compare(a.Service, b.Service); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}
