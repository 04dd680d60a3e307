package producer

import (
	"container/list"
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// item is one message from its acceptance to its report. What is below mutex is
// guarded by Producer.mu, and report also by done.
type item struct {
	topic  string
	seq    uint64 // the place in the order of acceptance
	lane   string // what it keeps its order with; "" for none
	size   int
	msg    *message.Message
	ctx    context.Context
	cancel context.CancelFunc // of ctx
	waited bool               // Send: its caller waits no longer than ctx
	done   chan struct{}      // closed with the report

	// mutex
	state   state
	element *list.Element // in the queue, while state is queued
	stop    func() bool   // takes back what is to happen when ctx ends
	report  Report
}

// state is where an item is. A report may come in each; reported is for good.
//
//	queued ⇄ handed → failed → queued
type state uint8

const (
	queued   state = iota
	handed         // the transport has it
	failed         // the transport gave it back: it is sent again, or reported
	reported       // what the transport still says of it is of no interest
)

// laneOf returns what a message keeps its order with.
func laneOf(m *message.Message) string {
	if k := bus.Key(m); k != "" {
		return "key " + k
	}
	if p := m.Metadata[driver.PartitionDirective]; p != "" {
		return "partition " + p
	}
	return ""
}

// size counts as bus.WithMaxMessageBytes does.
func size(m *message.Message) int {
	n := len(m.UUID) + len(m.Payload)
	for k, v := range m.Metadata {
		n += len(k) + len(v)
	}
	return n
}

// failure is the report of a message of which the producer itself has to tell.
func (m *item) failure(code bus.Code, reason string, cause error) Report {
	return Report{Topic: m.topic, Partition: -1, Offset: -1, Err: fault(code, m.topic, reason, cause)}
}

func fault(code bus.Code, topic, reason string, cause error) error {
	return &bus.Error{Code: code, Op: "send", Topic: topic, Reason: reason, Err: cause}
}
