package memory

import (
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// partition is one append-only sequence of records in a ring, bounded by limits.
//
// Its mutex guards every field, and the fields of claims and marks that say so. It
// is the only lock that publishing, fetching and committing share, and it is held
// for a handful of assignments. Lock order: Log.mu, then partition.mu.
type partition struct {
	topic  string
	id     int32
	limits limits

	mu sync.Mutex
	// gone is why nothing can be done here any more: the topic was deleted.
	gone error

	// The log holds the records from base to end-1, but for those that compaction has
	// taken out. ring holds them at the positions lo to hi-1; its length is a power of
	// two, and position i is at ring[i & (len-1)]. Without compaction positions are
	// offsets: lo is base, hi is end. chunks holds what the records are made of; those of
	// a compacted partition have one each, of the number of their position.
	ring       []entry
	chunks     chunks
	base, end  int64
	lo, hi     int64
	bytes      int64
	compaction *compaction // nil for none

	// marks are the positions of everyone who reads here. limit is never above the
	// lowest of those that are connected: what is below it may be trimmed.
	marks []*mark
	limit int64

	// waiter and waiters are claims whose Fetch waits for a record.
	waiter  *claim
	waiters []*claim
	// queue holds publishers that wait for room, the first come first.
	queue []*roomWaiter
}

// mark is the position of a group, or of one reader without a group, in a
// partition. Guarded by partition.mu.
type mark struct {
	// next is the committed position of a group (or where it would start), the next
	// record to be fetched of a reader.
	next      int64
	committed bool
	metadata  string
	// connected: someone is there, so what is not passed must be kept.
	connected bool
}

// roomWaiter is a publisher that waits its turn; signal has room for one.
type roomWaiter struct{ signal chan struct{} }

func newPartition(topic string, id int32, l limits) *partition {
	return &partition{topic: topic, id: id, limits: l, ring: make([]entry, 8), compaction: newCompaction(l)}
}

func (p *partition) at(position int64) *entry { return &p.ring[position&int64(len(p.ring)-1)] }

// push appends the draft, for which there is room.
func (p *partition) push(d *draft) int64 {
	if p.compaction != nil {
		if old := p.superseded(d.key); old != nil {
			p.remove(old)
			p.skipEmpty()
		}
	}
	if n := int(p.hi - p.lo); n == len(p.ring) {
		bigger := make([]entry, 2*n)
		for i := p.lo; i < p.hi; i++ {
			bigger[i&int64(len(bigger)-1)] = *p.at(i)
		}
		p.ring = bigger
	}
	e := p.at(p.hi)
	*e = d.entry
	e.offset = p.end
	e.chunk, e.at = p.chunks.add(d, p.compaction != nil)
	p.bytes += e.size
	p.hi++
	p.end++
	if p.compaction != nil {
		p.appended(d)
	}
	return p.end - 1
}

// trimOne drops the oldest record.
func (p *partition) trimOne() {
	e := p.at(p.lo)
	if p.compaction != nil {
		p.base = e.offset + 1
		p.remove(e)
		p.skipEmpty()
		return
	}
	p.bytes -= e.size
	p.chunks.drop(e.chunk) // those before, which nobody needs
	p.lo++
	p.base++
}

// expire drops what is too old, whoever has not read it.
func (p *partition) expire() {
	if p.compaction != nil && len(p.compaction.tombstones) > 0 {
		p.expireTombstones(time.Now())
	}
	if p.limits.maxAge == 0 {
		return
	}
	oldest := time.Now().Add(-p.limits.maxAge)
	for p.lo < p.hi && p.at(p.lo).timestamp().Before(oldest) {
		p.trimOne()
	}
}

// untilExpiry returns a channel that fires when the oldest record is too old, nil
// when records do not age.
func (p *partition) untilExpiry() <-chan time.Time {
	if p.limits.maxAge == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lo == p.hi {
		return time.After(p.limits.maxAge)
	}
	// Expired is what is older than the age, so a moment later.
	return time.After(time.Until(p.at(p.lo).timestamp().Add(p.limits.maxAge)) + time.Nanosecond)
}

// makeRoom trims the oldest records until d fits, and says whether it does. It never
// trims what a connected reader has not passed.
func (p *partition) makeRoom(d *draft) bool {
	p.expire()
	for p.crowded(d) {
		if p.oldest() >= p.limit {
			p.limit = p.lowest()
			if p.oldest() >= p.limit {
				return false
			}
		}
		p.trimOne()
	}
	return true
}

// crowded says whether d would break a limit.
func (p *partition) crowded(d *draft) bool {
	if p.compaction == nil {
		return int(p.hi-p.lo) >= p.limits.maxRecords || p.bytes+d.size > p.limits.maxBytes
	}
	count, bytes := p.count(), p.bytes
	if old := p.superseded(d.key); old != nil { // goes when d comes
		count--
		bytes -= old.size
	}
	return count >= p.limits.maxRecords || bytes+d.size > p.limits.maxBytes
}

// lowest returns the lowest position of a connected reader, or the end.
func (p *partition) lowest() int64 {
	low := p.end
	for _, m := range p.marks {
		if m.connected {
			low = min(low, m.next)
		}
	}
	return low
}

// hold lets m keep records from next on, or from the oldest one if that is gone.
func (p *partition) hold(m *mark, next int64) {
	m.next = max(next, p.base)
	m.connected = true
	p.limit = min(p.limit, m.next)
}

// offer appends the draft if there is room and nobody waits for some. It returns the
// offset, or full, or why it can never be.
func (p *partition) offer(d *draft) (offset int64, full bool, err error) {
	p.mu.Lock()
	if p.gone != nil {
		err = p.gone
		p.mu.Unlock()
		return -1, false, err
	}
	if len(p.queue) > 0 || !p.makeRoom(d) {
		p.mu.Unlock()
		return -1, true, nil
	}
	offset = p.push(d)
	first, rest := p.takeWaiters()
	p.mu.Unlock()
	wakeClaims(first, rest)
	return offset, false, nil
}

// await takes a place in the queue.
func (p *partition) await() *roomWaiter {
	w := &roomWaiter{signal: make(chan struct{}, 1)}
	p.mu.Lock()
	p.queue = append(p.queue, w)
	p.mu.Unlock()
	return w
}

// offerFirst is offer for a publisher in the queue; it leaves the queue unless the
// answer is full.
func (p *partition) offerFirst(w *roomWaiter, d *draft) (offset int64, full bool, err error) {
	p.mu.Lock()
	switch {
	case p.gone != nil:
		offset, err = -1, p.gone
	case p.queue[0] != w || !p.makeRoom(d):
		p.mu.Unlock()
		return -1, true, nil
	default:
		offset = p.push(d)
	}
	next := p.leaveQueue(w)
	first, rest := p.takeWaiters()
	p.mu.Unlock()
	next.wake()
	wakeClaims(first, rest)
	return offset, false, err
}

// giveUp leaves the queue without a word.
func (p *partition) giveUp(w *roomWaiter) {
	p.mu.Lock()
	next := p.leaveQueue(w)
	p.mu.Unlock()
	next.wake()
}

// leaveQueue removes w and returns whose turn it may be now.
func (p *partition) leaveQueue(w *roomWaiter) *roomWaiter {
	if i := slices.Index(p.queue, w); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
	}
	return p.nextInQueue()
}

// nextInQueue returns the publisher to wake when there may be room, nil for none.
func (p *partition) nextInQueue() *roomWaiter {
	if len(p.queue) == 0 {
		return nil
	}
	return p.queue[0]
}

func (w *roomWaiter) wake() {
	if w == nil {
		return
	}
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (p *partition) addWaiter(c *claim) {
	switch {
	case c.waiting:
		return
	case p.waiter == nil:
		p.waiter = c
	default:
		p.waiters = append(p.waiters, c)
	}
	c.waiting = true
}

func (p *partition) takeWaiters() (first *claim, rest []*claim) {
	first, rest = p.waiter, p.waiters
	p.waiter, p.waiters = nil, nil
	if first != nil {
		first.waiting = false
	}
	for _, c := range rest {
		c.waiting = false
	}
	return first, rest
}

func (p *partition) dropWaiter(c *claim) {
	if !c.waiting {
		return
	}
	c.waiting = false
	if p.waiter == c {
		p.waiter = nil
		return
	}
	p.waiters = slices.DeleteFunc(p.waiters, func(w *claim) bool { return w == c })
}

func wakeClaims(first *claim, rest []*claim) {
	if first != nil {
		first.signal()
	}
	for _, c := range rest {
		c.signal()
	}
}

// pick appends up to n records from offset on to picked.
func (p *partition) pick(picked []pick, offset int64, n int) []pick {
	position := offset
	if p.compaction != nil {
		position = p.seek(offset)
	}
	for ; position < p.hi && len(picked) < n; position++ {
		if e := p.at(position); !e.empty() {
			picked = append(picked, pick{*e, p.chunks.text(e)})
		}
	}
	return picked
}

// resolve turns a start into an offset.
func (p *partition) resolve(s driver.Start) (int64, error) {
	p.expire()
	switch s.Kind {
	case driver.StartOldest:
		return p.base, nil
	case driver.StartNewest:
		return p.end, nil
	case driver.StartAtTime:
		for i := p.lo; i < p.hi; i++ {
			if e := p.at(i); !e.empty() && !e.timestamp().Before(s.Time) {
				return p.offsetAt(i), nil
			}
		}
		return p.end, nil
	case driver.StartAtOffset:
		if s.Offset < p.base || s.Offset > p.end {
			return 0, outOfRange("subscribe", p, s.Offset)
		}
		return s.Offset, nil
	default:
		return 0, invalid("subscribe", p.topic, "the start is of an unknown kind")
	}
}
