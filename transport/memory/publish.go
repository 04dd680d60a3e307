package memory

import (
	"fmt"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Publish appends the batch, and completes every message before it returns. A message for
// a full partition waits for space under its own Context. Only messages for the same
// partition wait behind it. Publish works on the goroutine of the caller. If messages wait
// for several full partitions, it starts a goroutine for each of these partitions and
// waits for them.
func (t *Transport) Publish(batch []driver.Outgoing) {
	var (
		found   *topic
		waiting backlog
		now     time.Time // read once for the batch
	)
	d := drafts.Get().(*draft)
	defer d.put()
	for i := range batch {
		o := &batch[i]
		if err := t.reachable(o.Context, "publish", o.Topic); err != nil {
			o.Complete(driver.Failed(err))
			continue
		}
		if found == nil || found.name != o.Topic {
			if found = t.log.lookup(o.Topic); found == nil {
				o.Complete(driver.Failed(topicNotFound("publish", o.Topic)))
				continue
			}
		}
		p, err := found.choose(o)
		if err != nil {
			o.Complete(driver.Failed(err))
			continue
		}
		if now.IsZero() && o.Timestamp.IsZero() {
			now = time.Now().Round(0) // without the monotonic reading
		}
		d.encode(o, now)
		if err := p.check(o, d); err != nil {
			o.Complete(driver.Failed(err))
			continue
		}
		if waiting.has(p) {
			waiting.add(p, o, now)
			continue
		}
		offset, full, err := p.tryAppend(d)
		if full {
			waiting.add(p, o, now)
			continue
		}
		complete(o, p, offset, err)
	}
	if waiting != nil {
		t.publishBacklog(waiting)
	}
}

// check returns why the partition can never store the message, nil if it can.
func (p *partition) check(o *driver.Outgoing, d *draft) error {
	switch {
	case p.limits.compact && o.Key == nil:
		return invalidArgument("publish", o.Topic, "the message has no key: a compacted topic needs a key on each message")
	case d.size > p.limits.maxBytes:
		return newError(driver.CodeTooLarge, "publish", o.Topic,
			fmt.Sprintf("the message has %d bytes, and a partition keeps at most %d", d.size, p.limits.maxBytes), nil)
	default:
		return nil
	}
}

func complete(o *driver.Outgoing, p *partition, offset int64, err error) {
	if err != nil {
		o.Complete(driver.Failed(err))
		return
	}
	o.Complete(driver.Outcome{Partition: p.id, Offset: offset})
}

// drafts are reused, except for those that have grown large.
var drafts = sync.Pool{New: func() any { return new(draft) }}

func (d *draft) put() {
	d.key, d.payload = nil, nil
	if cap(d.lengths)+cap(d.names) <= largestChunk {
		drafts.Put(d)
	}
}

// backlog holds the messages of a batch that wait for full partitions, in order.
type backlog map[*partition][]waitingMessage

type waitingMessage struct {
	out *driver.Outgoing
	now time.Time
}

func (b backlog) has(p *partition) bool { return len(b[p]) > 0 }

func (b *backlog) add(p *partition, o *driver.Outgoing, now time.Time) {
	if *b == nil {
		*b = backlog{}
	}
	(*b)[p] = append((*b)[p], waitingMessage{o, now})
}

// publishBacklog completes every message of the backlog. Partitions are independent of one
// another.
func (t *Transport) publishBacklog(b backlog) {
	if len(b) == 1 {
		for p, messages := range b {
			t.publishInOrder(p, messages)
		}
		return
	}
	var wg sync.WaitGroup
	for p, messages := range b {
		wg.Go(func() { t.publishInOrder(p, messages) })
	}
	wg.Wait()
}

func (t *Transport) publishInOrder(p *partition, messages []waitingMessage) {
	for _, m := range messages {
		offset, err := t.appendWhenSpace(p, m)
		complete(m.out, p, offset, err)
	}
}

// appendWhenSpace waits until it is the turn of m and the partition has space, and then
// appends m. It stops waiting when the context of m ends, or the link breaks.
func (t *Transport) appendWhenSpace(p *partition, m waitingMessage) (int64, error) {
	link := t.link.Load()
	ctx := m.out.Context
	d := drafts.Get().(*draft)
	defer d.put()
	d.encode(m.out, m.now)
	w := p.enqueue()
	for {
		if err := t.reachable(ctx, "publish", m.out.Topic); err != nil {
			p.dequeue(w)
			return -1, err
		}
		offset, full, err := p.tryAppendQueued(w, d)
		if !full {
			return offset, err
		}
		select {
		case <-w.signal:
		case <-p.nextExpiry():
		case <-link.down:
			p.dequeue(w)
			return -1, link.err("publish", m.out.Topic)
		case <-ctx.Done():
			p.dequeue(w)
			return -1, partitionFull(p, ctx)
		}
	}
}
