package liveness

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/bus"
)

type subscriptionDetail struct {
	Topic    string `json:"topic"`
	Group    string `json:"group,omitempty"`
	Assigned bool   `json:"assigned"`
	Cause    string `json:"cause,omitempty"`
	// Lag is the sum of all partitions. It is absent while it is not known.
	Lag        *int64         `json:"lag,omitempty"`
	Partitions []partitionLag `json:"partitions,omitempty"`
}

type partitionLag struct {
	Partition int32 `json:"partition"`
	Position  int64 `json:"position"`
	End       int64 `json:"end"`
	Lag       int64 `json:"lag"`
}

// details returns what /detailz shows of the service.
func (m *Monitor) details(context.Context) map[string]any {
	s, connection := m.State(), m.bus.Connection()
	d := map[string]any{
		"live":       s.Live,
		"transport":  m.bus.Capabilities().Name,
		"connection": connection.State.String(),
	}
	if connection.Cause != nil {
		d["connection_cause"] = connection.Cause.Error()
	}
	if !s.LastSuccess.IsZero() {
		d["last_success"] = s.LastSuccess.UTC().Format(time.RFC3339Nano)
	}
	var subs []subscriptionDetail
	for _, sub := range m.Subscriptions() {
		subs = append(subs, subscriptionOf(sub))
	}
	if len(subs) > 0 {
		d["subscriptions"] = subs
	}
	return d
}

func subscriptionOf(sub *bus.Subscription) subscriptionDetail {
	d := subscriptionDetail{Topic: sub.Topic(), Group: sub.Group()}
	var cause error
	if d.Assigned, cause = sub.Assigned(); cause != nil {
		d.Cause = cause.Error()
	}
	var total int64
	for _, l := range sub.Lag() {
		d.Partitions = append(d.Partitions, partitionLag{Partition: l.Partition, Position: l.Position, End: l.End, Lag: l.Records})
		total += l.Records
	}
	if len(d.Partitions) > 0 {
		d.Lag = &total
	}
	return d
}
