package kafka

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

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
	alone  together     // with, for a message that is published alone
	stuck  *partitioner // that chose a sticky partition for it
	memory *space       // it is part of
}

// space is the memory of a batch on its way out. It is used again when every message is
// in the log: then sarama knows of none of them any more. One that sarama has given up
// on it may look at afterwards.
type space struct {
	items   []pending
	headers []sarama.RecordHeader
	text    []byte       // of the headers
	users   atomic.Int32 // messages without an outcome, and who hands them over
	failed  atomic.Bool  // sarama has given up on one
}

var spaces = sync.Pool{New: func() any { return new(space) }}

// What of a space is worth keeping for another batch.
const (
	keptItems = 1024
	keptText  = 256 << 10
)

func newSpace(batch []driver.Outgoing) *space {
	headers, text := 0, 0
	for i := range batch {
		o := &batch[i]
		headers += 1 + len(o.Headers)
		text += len(UUIDHeader) + len(o.UUID)
		for j := range o.Headers {
			text += len(o.Headers[j].Key) + len(o.Headers[j].Value)
		}
	}
	s := spaces.Get().(*space)
	s.items = slices.Grow(s.items, len(batch))[:len(batch)]
	s.headers, s.text = slices.Grow(s.headers, headers), slices.Grow(s.text, text) // what is in them must not move
	s.users.Store(int32(len(batch)) + 1)
	return s
}

// leave is called when a message has its outcome, and when all are handed over. The
// caller uses nothing of s any more.
func (s *space) leave() {
	if s.users.Add(-1) > 0 || s.failed.Load() || cap(s.items) > keptItems || cap(s.text) > keptText {
		return
	}
	clear(s.items)
	clear(s.headers)
	s.items, s.headers, s.text = s.items[:0], s.headers[:0], s.text[:0]
	spaces.Put(s)
}

// header appends one to those of the item that is being made.
func (s *space) header(name, value string) {
	k := len(s.text)
	s.text = append(s.text, name...)
	v := len(s.text)
	s.text = append(s.text, value...)
	s.headers = append(s.headers, sarama.RecordHeader{Key: s.text[k:v:v], Value: s.text[v:len(s.text):len(s.text)]})
}

func succeeded(rec *sarama.ProducerMessage) {
	item := rec.Metadata.(*pending)
	item.settle()
	item.line.client.net.traffic.produced.Add(1)
	item.out.Complete(driver.Outcome{Partition: rec.Partition, Offset: rec.Offset})
	item.line.pending.Done()
	item.memory.leave()
}

func (p *producer) failedToSend(e *sarama.ProducerError) {
	item := e.Msg.Metadata.(*pending)
	item.memory.failed.Store(true)
	item.settle()
	code := codeOf(e.Err)
	if code == driver.CodeNotFound {
		item.line.topics.Delete(item.out.Topic)
	}
	if errors.Is(e.Err, sarama.ErrOutOfBrokers) {
		item.line.deserted.Store(true)
	}
	if !rejected(code) && !errors.Is(e.Err, errNoSuchPartition) {
		item.line.spoilt.Store(true)
	}
	item.out.Complete(driver.Failed(item.outcome(e.Err, code)))
	item.line.pending.Done()
	item.memory.leave()
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
		return failCode(driver.CodeInvalidArgument, "publish", topic, "", err)
	case rejected(code):
		return fail("publish", topic, err)
	case neverSent(err), i.cold && i.line.client.net.opened.Load() == i.opened:
		return failCode(driver.CodeUnavailable, "publish", topic, "nothing was sent", err)
	default:
		return failCode(driver.CodeOutcomeUnknown, "publish", topic, "the log may or may not have the message", err)
	}
}
