package kafka

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// pendingMessage is a message between Publish and its outcome.
type pendingMessage struct {
	rec sarama.ProducerMessage
	out *driver.Outgoing
	via *asyncProducer
	buf *batchBuffer // that contains this pendingMessage

	// The state of the network when sarama got the message. If there was no connection then
	// and none has been opened since, no request can have carried the message.
	noConnection bool
	connsOpened  int64

	// affinity is shared by the messages without a key of one Publish to one topic. A
	// message that is published alone uses ownAffinity.
	affinity    *batchAffinity
	ownAffinity batchAffinity
	// countedBy is the partitioner that counts this message as in flight, nil if none does.
	countedBy *partitioner
}

// leaveInFlight stops counting the message as in flight. It must be called when the
// message has its outcome.
func (m *pendingMessage) leaveInFlight() {
	if m.countedBy != nil {
		m.countedBy.inFlight.Add(-1)
	}
}

// batchBuffer is the memory for the messages of one Publish. It is reused after all of them
// are in the log, because sarama then holds no reference to them. sarama may still read a
// message that it has failed, so a buffer with a failed message is not reused.
type batchBuffer struct {
	messages []pendingMessage
	headers  []sarama.RecordHeader
	text     []byte // of the headers
	// refs counts the messages without an outcome, plus 1 until Publish has sent all.
	refs   atomic.Int32
	failed atomic.Bool // sarama has failed a message
}

var batchBuffers = sync.Pool{New: func() any { return new(batchBuffer) }}

// Larger buffers are not kept for reuse.
const (
	reusableMessages = 1024
	reusableText     = 256 << 10
)

func newBatchBuffer(batch []driver.Outgoing) *batchBuffer {
	headers, text := 0, 0
	for i := range batch {
		o := &batch[i]
		headers += 1 + len(o.Headers)
		text += len(uuidHeader) + len(o.UUID)
		for j := range o.Headers {
			text += len(o.Headers[j].Key) + len(o.Headers[j].Value)
		}
	}
	b := batchBuffers.Get().(*batchBuffer)
	b.messages = slices.Grow(b.messages, len(batch))[:len(batch)]
	// The slices must have their full capacity now: messages refer to their elements, so a
	// later append must not move them.
	b.headers, b.text = slices.Grow(b.headers, headers), slices.Grow(b.text, text)
	b.refs.Store(int32(len(batch)) + 1)
	return b
}

// release drops one reference. The caller must not use b afterwards.
func (b *batchBuffer) release() {
	if b.refs.Add(-1) > 0 || b.failed.Load() || cap(b.messages) > reusableMessages || cap(b.text) > reusableText {
		return
	}
	clear(b.messages)
	clear(b.headers)
	b.messages, b.headers, b.text = b.messages[:0], b.headers[:0], b.text[:0]
	batchBuffers.Put(b)
}

// addHeader appends a header of the message that is being encoded.
func (b *batchBuffer) addHeader(name, value string) {
	k := len(b.text)
	b.text = append(b.text, name...)
	v := len(b.text)
	b.text = append(b.text, value...)
	b.headers = append(b.headers, sarama.RecordHeader{Key: b.text[k:v:v], Value: b.text[v:len(b.text):len(b.text)]})
}
