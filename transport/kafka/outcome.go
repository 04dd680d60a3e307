package kafka

import (
	"errors"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// pending is a message that sarama has.
type pending struct {
	rec  sarama.ProducerMessage
	out  *driver.Outgoing
	line *line
	// What the line's network looked like when the message was handed over: with no
	// connection then, and none made since, no request can have carried it.
	opened int64
	cold   bool
	with   *together
	stuck  *partitioner // that chose a sticky partition for it
}

func succeeded(rec *sarama.ProducerMessage) {
	item := rec.Metadata.(*pending)
	item.settle()
	item.line.client.net.traffic.produced.Add(1)
	item.out.Complete(driver.Outcome{Partition: rec.Partition, Offset: rec.Offset})
	item.line.pending.Done()
}

func (p *producer) failedToSend(e *sarama.ProducerError) {
	item := e.Msg.Metadata.(*pending)
	item.settle()
	code := codeOf(e.Err)
	if code == driver.NotFound {
		item.line.topics.Delete(item.out.Topic)
	}
	if !rejected(code) && !errors.Is(e.Err, errNoSuchPartition) {
		item.line.spoilt.Store(true)
	}
	item.out.Complete(driver.Failed(item.outcome(e.Err, code)))
	item.line.pending.Done()
}

func (i *pending) settle() {
	if i.stuck != nil {
		i.stuck.underway.Add(-1)
	}
}

// outcome says what is known of a message that sarama gave back.
func (i *pending) outcome(err error, code driver.Code) error {
	topic := i.out.Topic
	switch {
	case errors.Is(err, errNoSuchPartition):
		return failCode(driver.InvalidArgument, "publish", topic, "", err)
	case rejected(code):
		return fail("publish", topic, err)
	case neverSent(err), i.cold && i.line.client.net.opened.Load() == i.opened:
		return failCode(driver.Unavailable, "publish", topic, "nothing was sent", err)
	default:
		return failCode(driver.OutcomeUnknown, "publish", topic, "the log may or may not have the message", err)
	}
}
