package producer

import (
	"container/list"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// item is one message from its acceptance to its report. Producer.mu guards the fields
// below the line "mutable". Closing done publishes report to readers without the lock.
type item struct {
	topic   string
	seq     uint64 // position in the order of acceptance
	order   orderKey
	size    int
	msg     *message.Message
	ctx     messageContext
	waiting bool          // Send waits for the report, but not longer than ctx
	done    chan struct{} // closed when report is set

	// mutable
	state   state
	element *list.Element // position in the queue, while state is queued
	stop    func() bool   // removes the callback for the end of the caller's context
	timer   *time.Timer   // fires at the deadline set by the producer
	expired bool          // the caller's context has ended, or the deadline has passed
	report  Report
}

// state is where an item is. From each state it can also become reported, which is final.
//
//	queued → inFlight → returned → queued
type state uint8

const (
	queued   state = iota // in Producer.queue
	inFlight              // in Producer.inFlight: the transport has it
	returned              // in Producer.returned: the transport reported that it was not sent
	reported              // has its report; a later outcome from the transport is ignored
)

// orderKey identifies the messages that must keep their order: those with the same key, or
// with the same explicit partition. The zero orderKey means no order.
type orderKey struct{ key, partition string }

func orderKeyOf(m *message.Message) orderKey {
	if k := bus.KeyOf(m); k != "" {
		return orderKey{key: k}
	}
	return orderKey{partition: m.Metadata[driver.PartitionDirective]}
}

// sizeOf counts bytes as bus.WithMaxMessageBytes does.
func sizeOf(m *message.Message) int {
	n := len(m.UUID) + len(m.Payload)
	for k, v := range m.Metadata {
		n += len(k) + len(v)
	}
	return n
}

// failure makes the report of a message that fails in the producer, not in the transport.
func (m *item) failure(code bus.Code, reason string, cause error) Report {
	return failedReport(m.topic, sendError(code, m.topic, reason, cause))
}

func failedReport(topic string, err error) Report {
	return Report{Topic: topic, Partition: -1, Offset: -1, Err: err}
}

func sendError(code bus.Code, topic, reason string, cause error) error {
	return &bus.Error{Code: code, Op: "send", Topic: topic, Reason: reason, Err: cause}
}
