package presence

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// header marks a message as an announcement.
const header = "trunkline-presence"

// The values of header.
const (
	hereValue = "1 here"
	goneValue = "1 gone"
)

// The bounds of an announcement. Sizes are in bytes.
const (
	maxPayload  = 32 << 10
	maxService  = 100
	maxID       = 200
	maxTopics   = 256
	maxTopic    = 255
	maxMetadata = 64
	maxTTL      = time.Hour
	defaultTTL  = 10 * time.Second
)

// Instance is a running instance of a service.
type Instance struct {
	// Service is the name of the service, at most 100 bytes.
	Service string `json:"service"`
	// ID is unique among the instances of the service, at most 200 bytes.
	ID string `json:"instance"`
	// Version is for people.
	Version string `json:"version,omitempty"`
	// Topics are the topics that the instance serves.
	Topics []string `json:"topics,omitempty"`
	// Metadata is the user's.
	Metadata map[string]string `json:"metadata,omitempty"`
	// Started is when the instance was started, by its own clock.
	Started time.Time `json:"started,omitzero"`
}

func (i Instance) clone() Instance {
	i.Topics, i.Metadata = slices.Clone(i.Topics), maps.Clone(i.Metadata)
	return i
}

func (i *Instance) check() error {
	switch {
	case i.Service == "" || len(i.Service) > maxService:
		return fmt.Errorf("the service name must have 1 to %d bytes, got %d", maxService, len(i.Service))
	case i.ID == "" || len(i.ID) > maxID:
		return fmt.Errorf("the instance id must have 1 to %d bytes, got %d", maxID, len(i.ID))
	case len(i.Topics) > maxTopics:
		return fmt.Errorf("at most %d topics are allowed, got %d", maxTopics, len(i.Topics))
	case slices.ContainsFunc(i.Topics, func(t string) bool { return t == "" || len(t) > maxTopic }):
		return fmt.Errorf("a topic must have 1 to %d bytes", maxTopic)
	case len(i.Metadata) > maxMetadata:
		return fmt.Errorf("at most %d metadata entries are allowed, got %d", maxMetadata, len(i.Metadata))
	}
	return nil
}

func compareInstances(a, b Instance) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.ID, b.ID))
}

// announcement is the content of one message.
type announcement struct {
	Instance
	gone bool          // the instance has left
	ttl  time.Duration // how long the announcement is valid
}

// payload is the JSON of an announcement.
type payload struct {
	Instance
	TTL int64 `json:"ttl_ms,omitempty"`
}

// encode returns an error if the announcement is invalid or too large.
func (a announcement) encode() (*bus.Record, error) {
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("presence: announcement: %w", err)
	}
	body, err := json.Marshal(payload{a.Instance, a.ttl.Milliseconds()})
	if err != nil {
		return nil, fmt.Errorf("presence: encode the announcement: %w", err)
	}
	if len(body) > maxPayload {
		return nil, fmt.Errorf("presence: announcement: at most %d bytes are allowed, got %d: use less metadata", maxPayload, len(body))
	}
	value := hereValue
	if a.gone {
		value = goneValue
	}
	return &bus.Record{
		Partition: bus.AnyPartition, Key: []byte(a.Service + "/" + a.ID), Payload: body,
		Headers: []bus.Header{{Key: header, Value: value}},
	}, nil
}

// decode reads a record, which may have any content. It returns an error if a value is too
// large. The result does not alias r.
func decode(r *bus.Record) (announcement, error) {
	a := announcement{ttl: defaultTTL}
	switch value, _ := r.Header(header); {
	case value == goneValue:
		a.gone = true
	case value != hereValue:
		return a, errors.New("presence: the message is not an announcement of version 1")
	}
	if len(r.Payload) > maxPayload {
		return a, fmt.Errorf("presence: announcement: at most %d bytes are allowed, got %d", maxPayload, len(r.Payload))
	}
	var p payload
	if err := json.Unmarshal(r.Payload, &p); err != nil {
		return a, errors.New("presence: announcement: the payload is not valid JSON")
	}
	if err := p.check(); err != nil {
		return a, fmt.Errorf("presence: announcement: %w", err)
	}
	switch {
	case p.TTL < 0 || p.TTL > maxTTL.Milliseconds():
		return a, fmt.Errorf("presence: announcement: ttl_ms must be from 1 to %d", maxTTL.Milliseconds())
	case p.TTL > 0:
		a.ttl = time.Duration(p.TTL) * time.Millisecond
	}
	a.Instance = p.Instance
	if y := a.Started.Year(); y < 1970 || y > 9999 {
		a.Started = time.Time{}
	}
	return a, nil
}
