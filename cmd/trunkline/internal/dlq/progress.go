package dlq

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// progress is a member of the group that records which letters are done. In each partition,
// the handler of the first record that is not done waits. When that record is marked as done,
// its handler returns, and the committed offset advances.
type progress struct {
	sub     *bus.Subscription
	leaving chan struct{} // closed by leave, which ends the held deliveries

	mu         sync.Mutex
	changed    chan struct{} // closed and replaced after each change
	partitions map[int32]*claimed
	done       map[Place]bool // done, and not acknowledged yet
}

// claimed is a partition that has had a delivery.
type claimed struct {
	first   int64 // the committed offset at the beginning
	at      int64 // the offset of the last delivery
	holding bool  // the handler waits until the record at this offset is done
	gone    error // why another member owns it now
}

var errLeft = errors.New("the letter is not done yet")

func join(ctx context.Context, b *bus.Bus, topic, group string) (*progress, error) {
	p := &progress{leaving: make(chan struct{}), changed: make(chan struct{}), partitions: map[int32]*claimed{}, done: map[Place]bool{}}
	// The subscription must not end with ctx, because leave commits on it. Only leave ends it.
	sub, err := b.Consume(context.WithoutCancel(ctx), topic, p.hold, bus.Group(group), bus.FromOldest(), bus.OrderByPartition(), bus.CommitInterval(200*time.Millisecond))
	p.sub = sub
	return p, err
}

// hold is the handler. It holds a record until the record is done.
func (p *progress) hold(ctx context.Context, d *bus.Delivery) error {
	place := Place{d.Record.Partition, d.Record.Offset}
	p.mu.Lock()
	c := p.partitions[place.Partition]
	if c == nil {
		c = &claimed{first: place.Offset}
		p.partitions[place.Partition] = c
	}
	c.at, c.holding = place.Offset, true
	p.notify()
	for !p.done[place] {
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-p.leaving:
			return bus.RetryAfter(time.Hour, errLeft)
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			c.gone = context.Cause(ctx)
			p.notify()
			return c.gone
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	delete(p.done, place)
	c.holding = false
	p.notify()
	return nil
}

// notify reports a change. mu is held.
func (p *progress) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// positions waits until the committed offset of each partition is known, and returns the
// offsets. The result does not contain partitions whose letters are all done. missing are the
// partitions whose offset is still unknown after the duration quiet, because another member of
// the group owns them.
func (p *progress) positions(ctx context.Context, ends map[int32]int64, quiet time.Duration) (first map[int32]int64, missing []int32, err error) {
	if err := p.sub.Ready(ctx); err != nil {
		return nil, nil, err
	}
	begun := time.Now()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		first, missing = p.known(ends)
		if len(missing) == 0 || time.Since(begun) > quiet {
			return first, missing, nil
		}
		select {
		case <-tick.C:
		case <-p.sub.Done():
			return nil, nil, p.sub.Err()
		case <-ctx.Done():
			return nil, nil, ended(ctx, p.sub.Topic())
		}
	}
}

func ended(ctx context.Context, topic string) error {
	return &bus.Error{Code: driver.ContextCode(ctx.Err()), Op: "process", Topic: topic, Err: context.Cause(ctx)}
}

func (p *progress) known(ends map[int32]int64) (first map[int32]int64, missing []int32) {
	behind := map[int32]bool{}
	for _, l := range p.sub.Lag() {
		behind[l.Partition] = l.Records == 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	first = map[int32]int64{}
	for partition := range ends {
		if c := p.partitions[partition]; c != nil {
			first[partition] = c.first
		} else if !behind[partition] {
			missing = append(missing, partition)
		}
	}
	slices.Sort(missing)
	return first, missing
}

// markDone marks a record as done.
func (p *progress) markDone(at Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[at] = true
	p.notify()
}

// lost returns why another member owns the partition now, or nil while this one does.
func (p *progress) lost(partition int32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.partitions[partition]; c != nil {
		return c.gone
	}
	return nil
}

// settle waits until every committed offset has advanced as far as it can.
func (p *progress) settle(ctx context.Context, ends map[int32]int64) error {
	for {
		p.mu.Lock()
		changed, settled := p.changed, true
		for id, c := range p.partitions {
			switch {
			case c.gone != nil:
			case c.holding:
				settled = settled && !p.done[Place{id, c.at}]
			default: // the next delivery follows if there is another record
				settled = settled && c.at+1 >= ends[id]
			}
		}
		p.mu.Unlock()
		if settled {
			return nil
		}
		select {
		case <-changed:
		case <-p.sub.Done():
			return p.sub.Err()
		case <-ctx.Done():
			return ended(ctx, p.sub.Topic())
		}
	}
}

// leave commits, and leaves the group.
func (p *progress) leave(ctx context.Context) error {
	close(p.leaving)
	return p.sub.Shutdown(ctx)
}
