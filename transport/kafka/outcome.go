package kafka

import (
	"errors"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// pending is a message that sarama has. Its memory is used again once sarama has given
// it back.
type pending struct {
	rec     sarama.ProducerMessage
	headers []sarama.RecordHeader // what rec.Headers is made in,
	text    []byte                // and what they refer to
	out     *driver.Outgoing
	line    *line
	// What the line's network looked like when the message was handed over: with no
	// connection then, and none made since, no request can have carried it.
	opened int64
	cold   bool
	with   *together
	alone  together     // with, for a message that is published alone
	stuck  *partitioner // that chose a sticky partition for it
}

// maxReusedText bounds the header memory that is kept for the next message.
const maxReusedText = 4 << 10

func (p *producer) newPending(out *driver.Outgoing) *pending {
	item, ok := p.items.Get().(*pending)
	if !ok {
		item = &pending{}
	}
	item.out = out
	item.rec.Metadata = item
	item.rec.Offset = -1 // stays so when the broker only says that it had the message already
	return item
}

// letGo has the memory of a message that sarama does not have, or not any more, used again.
func (p *producer) letGo(item *pending) {
	headers, text := item.headers[:0], item.text[:0]
	if cap(text) > maxReusedText {
		headers, text = nil, nil
	}
	clear(headers[:cap(headers)])
	*item = pending{headers: headers, text: text}
	p.items.Put(item)
}

func (p *producer) succeeded(rec *sarama.ProducerMessage) {
	item := rec.Metadata.(*pending)
	item.settle()
	l, out, outcome := item.line, item.out, driver.Outcome{Partition: rec.Partition, Offset: rec.Offset}
	p.letGo(item)
	l.client.net.traffic.produced.Add(1)
	out.Complete(outcome)
	l.pending.Done()
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
	l, out, outcome := item.line, item.out, driver.Failed(item.outcome(e.Err, code))
	p.letGo(item)
	out.Complete(outcome)
	l.pending.Done()
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
