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

// progress is a membership in the group that remembers what is dealt with. Of each
// partition it holds one delivery, the first record that is not dealt with; marking
// that one lets the group's position move on.
type progress struct {
	sub     *bus.Subscription
	leaving chan struct{} // closed by leave: what is held is given back

	mu         sync.Mutex
	changed    chan struct{} // closed and replaced when there is something to look at
	partitions map[int32]*claimed
	done       map[Place]bool // dealt with, and not acknowledged yet
}

// claimed is a partition of which there was a delivery.
type claimed struct {
	first   int64 // the group's position, at first
	at      int64 // the offset of the last delivery
	holding bool  // its delivery waits to be dealt with
	gone    error // why it is another member's
}

var errLeft = errors.New("it is not dealt with yet")

func join(ctx context.Context, b *bus.Bus, topic, group string) (*progress, error) {
	p := &progress{leaving: make(chan struct{}), changed: make(chan struct{}), partitions: map[int32]*claimed{}, done: map[Place]bool{}}
	// Only leave ends it, which commits, also when the caller's time is over.
	sub, err := b.Consume(context.WithoutCancel(ctx), topic, p.hold, bus.Group(group), bus.FromOldest(), bus.OrderByPartition(), bus.CommitInterval(200*time.Millisecond))
	p.sub = sub
	return p, err
}

// hold keeps a record until it is dealt with.
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

// notify is called with mu held.
func (p *progress) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// positions waits until the group's position in each partition is known, and returns
// them: a partition that the group has behind it is not in it. missing are those of
// which it did not get known for quiet: another member of the group has them.
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
	return &bus.Error{Code: driver.ContextCode(ctx.Err()), Op: "work off", Topic: topic, Err: context.Cause(ctx)}
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

// dealt says that a record is dealt with.
func (p *progress) dealt(at Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[at] = true
	p.notify()
}

// lost says why the partition is not this member's any more, nil while it is.
func (p *progress) lost(partition int32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.partitions[partition]; c != nil {
		return c.gone
	}
	return nil
}

// settle waits until every position is as far as it can be.
func (p *progress) settle(ctx context.Context, ends map[int32]int64) error {
	for {
		p.mu.Lock()
		changed, settled := p.changed, true
		for id, c := range p.partitions {
			switch {
			case c.gone != nil:
			case c.holding:
				settled = settled && !p.done[Place{id, c.at}]
			default: // the next delivery is on its way, as long as there is another record
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
