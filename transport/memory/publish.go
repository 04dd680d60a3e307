package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Publish appends the batch and completes each message before it returns, on the
// caller's goroutine, but for messages to several full partitions, of which each
// partition has a goroutine that Publish waits for. A message that finds its
// partition full waits under its own Context, and only what goes to the same
// partition waits behind it.
func (t *Transport) Publish(batch []driver.Outgoing) {
	var (
		found *topic
		held  backlog
		now   time.Time // one reading of the clock does for the batch
	)
	d := drafts.Get().(*draft)
	defer d.put()
	for i := range batch {
		o := &batch[i]
		if err := t.admit(o); err != nil {
			o.Complete(driver.Failed(err))
			continue
		}
		if found == nil || found.name != o.Topic {
			if found = t.log.lookup(o.Topic); found == nil {
				o.Complete(driver.Failed(noTopic("publish", o.Topic)))
				continue
			}
		}
		p, err := found.choose(o)
		if err != nil {
			o.Complete(driver.Failed(err))
			continue
		}
		if now.IsZero() && o.Timestamp.IsZero() {
			now = time.Now().Round(0) // a record has no use for the monotonic clock
		}
		d.write(o, now)
		if p.limits.compact && o.Key == nil {
			o.Complete(driver.Failed(invalid("publish", o.Topic, "the topic is compacted, which needs a key on each message")))
			continue
		}
		if d.size > p.limits.maxBytes {
			o.Complete(driver.Failed(failure(driver.CodeTooLarge, "publish", o.Topic,
				fmt.Sprintf("the message has %d bytes, the partition keeps %d", d.size, p.limits.maxBytes), nil)))
			continue
		}
		if held.behind(p) {
			held.add(p, o, now)
			continue
		}
		offset, full, err := p.offer(d)
		if full {
			held.add(p, o, now)
			continue
		}
		complete(o, p, offset, err)
	}
	if held != nil {
		t.clear(held)
	}
}

// admit says why o can't go, whatever its topic.
func (t *Transport) admit(o *driver.Outgoing) error {
	if err := t.link.Load().err("publish", o.Topic); err != nil {
		return err
	}
	if err := o.Context.Err(); err != nil {
		return contextError("publish", o.Topic, err)
	}
	return nil
}

func complete(o *driver.Outgoing, p *partition, offset int64, err error) {
	if err != nil {
		o.Complete(driver.Failed(err))
		return
	}
	o.Complete(driver.Outcome{Partition: p.id, Offset: offset})
}

// drafts are written again, until their memory is more than most messages need.
var drafts = sync.Pool{New: func() any { return new(draft) }}

func (d *draft) put() {
	d.key, d.payload = nil, nil
	if cap(d.lengths)+cap(d.names) <= largestChunk {
		drafts.Put(d)
	}
}

// backlog is what a batch has for full partitions, in order.
type backlog map[*partition][]heldMessage

type heldMessage struct {
	out *driver.Outgoing
	now time.Time
}

func (b backlog) behind(p *partition) bool { return len(b[p]) > 0 }

func (b *backlog) add(p *partition, o *driver.Outgoing, now time.Time) {
	if *b == nil {
		*b = backlog{}
	}
	(*b)[p] = append((*b)[p], heldMessage{o, now})
}

// clear waits until every held message is completed, partitions side by side.
func (t *Transport) clear(b backlog) {
	if len(b) == 1 {
		for p, messages := range b {
			t.drain(p, messages)
		}
		return
	}
	var wg sync.WaitGroup
	for p, messages := range b {
		wg.Go(func() { t.drain(p, messages) })
	}
	wg.Wait()
}

func (t *Transport) drain(p *partition, messages []heldMessage) {
	for _, m := range messages {
		offset, err := t.wait(p, m)
		complete(m.out, p, offset, err)
	}
}

// wait appends m when it is its turn and there is room.
func (t *Transport) wait(p *partition, m heldMessage) (int64, error) {
	link := t.link.Load()
	ctx := m.out.Context
	d := drafts.Get().(*draft)
	defer d.put()
	d.write(m.out, m.now)
	w := p.await()
	for {
		if err := t.admit(m.out); err != nil {
			p.giveUp(w)
			return -1, err
		}
		offset, full, err := p.offerFirst(w, d)
		if !full {
			return offset, err
		}
		select {
		case <-w.signal:
		case <-p.untilExpiry():
		case <-link.down:
			p.giveUp(w)
			return -1, link.err("publish", m.out.Topic)
		case <-ctx.Done():
			p.giveUp(w)
			return -1, lagging(p, ctx)
		}
	}
}

func lagging(p *partition, ctx context.Context) error {
	return failure(driver.ContextCode(ctx.Err()), "publish", p.topic,
		fmt.Sprintf("partition %d is full and a subscriber has not caught up; nothing was sent", p.id), ctx.Err())
}
