package memory

import (
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// partition is an append-only sequence of records, bounded by limits.
//
// mu guards every field. It also guards the fields of claim and progress whose comments name
// it. It is the only lock that Publish, Fetch and Commit share, and it is held for a few
// assignments only. Lock order: Log.mu, then partition.mu.
type partition struct {
	topic  string
	id     int32
	limits limits

	mu sync.Mutex
	// deleted is the error of every operation once the topic is deleted, nil before.
	deleted error

	// The log contains the offsets from base to end-1, except for those that compaction
	// removed. ring stores the records in the slots lo to hi-1. Its length is a power of
	// two, and slot i is ring[i & (len-1)]. Without compaction, slots are offsets: lo is
	// base, and hi is end. chunks stores the encoded records. In a compacted partition,
	// each record has its own chunk, and the chunk has the number of the slot.
	ring       []entry
	chunks     chunks
	base, end  int64
	lo, hi     int64
	bytes      int64
	compaction *compaction // nil if the partition is not compacted

	// progress has an element for each group and for each session without a group.
	// trimLimit is at most the lowest next of those that are connected. Records below it
	// can be dropped.
	progress  []*progress
	trimLimit int64

	// waitingClaim and waitingClaims are the claims whose Fetch waits for a record. The
	// first is separate, because most partitions have one reader and then need no slice.
	waitingClaim  *claim
	waitingClaims []*claim
	// publishers holds the publishers that wait for space, in order of arrival.
	publishers []*waitingPublisher
}

// progress records how far a group, or a session without a group, has read a partition.
// Guarded by partition.mu.
type progress struct {
	// next is the committed offset of a group, or the offset at which it would start. For
	// a session without a group it is the next offset to fetch.
	next      int64
	committed bool
	metadata  string
	// connected means that records from next on must be kept.
	connected bool
}

func newPartition(topic string, id int32, l limits) *partition {
	return &partition{topic: topic, id: id, limits: l, ring: make([]entry, 8), compaction: newCompaction(l)}
}

func (p *partition) at(slot int64) *entry { return &p.ring[slot&int64(len(p.ring)-1)] }

// push appends the draft and returns its offset. The caller has made space.
func (p *partition) push(d *draft) int64 {
	if p.compaction != nil {
		if old := p.latest(d.key); old != nil {
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
	e.chunk, e.start = p.chunks.add(d, p.compaction != nil)
	p.bytes += e.size
	p.hi++
	p.end++
	if p.compaction != nil {
		p.appended(d)
	}
	return p.end - 1
}

// dropOldest drops the oldest record.
func (p *partition) dropOldest() {
	e := p.at(p.lo)
	if p.compaction != nil {
		p.base = e.offset + 1
		p.remove(e)
		p.skipEmpty()
		return
	}
	p.bytes -= e.size
	p.chunks.releaseBefore(e.chunk)
	p.lo++
	p.base++
}

// dropExpired drops the records and tombstones that are too old, read or unread.
func (p *partition) dropExpired() {
	if p.compaction != nil && len(p.compaction.tombstones) > 0 {
		p.dropTombstones(time.Now())
	}
	if p.limits.maxAge == 0 {
		return
	}
	oldest := time.Now().Add(-p.limits.maxAge)
	for p.lo < p.hi && p.at(p.lo).timestamp().Before(oldest) {
		p.dropOldest()
	}
}

// nextExpiry returns a channel that receives when the oldest record expires, nil if
// records do not expire.
func (p *partition) nextExpiry() <-chan time.Time {
	if p.limits.maxAge == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lo == p.hi {
		return time.After(p.limits.maxAge)
	}
	// A record expires when it is older than maxAge, so one nanosecond later.
	return time.After(time.Until(p.at(p.lo).timestamp().Add(p.limits.maxAge)) + time.Nanosecond)
}

// makeSpace drops the oldest records until d fits, and reports whether it fits. It does
// not drop records that a connected subscriber has not passed.
func (p *partition) makeSpace(d *draft) bool {
	p.dropExpired()
	for p.exceedsLimits(d) {
		if p.oldest() >= p.trimLimit {
			p.trimLimit = p.lowestConnected()
			if p.oldest() >= p.trimLimit {
				return false
			}
		}
		p.dropOldest()
	}
	return true
}

// exceedsLimits reports whether the partition would exceed a limit with d.
func (p *partition) exceedsLimits(d *draft) bool {
	if p.compaction == nil {
		return int(p.hi-p.lo) >= p.limits.maxRecords || p.bytes+d.size > p.limits.maxBytes
	}
	count, bytes := p.count(), p.bytes
	if old := p.latest(d.key); old != nil { // d replaces it
		count--
		bytes -= old.size
	}
	return count >= p.limits.maxRecords || bytes+d.size > p.limits.maxBytes
}

// lowestConnected returns the lowest next of a connected reader, or end if there is none.
func (p *partition) lowestConnected() int64 {
	low := p.end
	for _, pr := range p.progress {
		if pr.connected {
			low = min(low, pr.next)
		}
	}
	return low
}

// retain connects pr and keeps the records from next on for it. If the log has dropped next,
// pr continues at the oldest offset.
func (p *partition) retain(pr *progress, next int64) {
	pr.next = max(next, p.base)
	pr.connected = true
	p.trimLimit = min(p.trimLimit, pr.next)
}

// collect appends at most n records to records. It begins at offset.
func (p *partition) collect(records []encodedRecord, offset int64, n int) []encodedRecord {
	slot := offset
	if p.compaction != nil {
		slot = p.slotOf(offset)
	}
	for ; slot < p.hi && len(records) < n; slot++ {
		if e := p.at(slot); !e.empty() {
			records = append(records, encodedRecord{*e, p.chunks.text(e)})
		}
	}
	return records
}

// resolve returns the offset at which a subscription with this start begins.
func (p *partition) resolve(s driver.Start) (int64, error) {
	p.dropExpired()
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
			return 0, offsetOutOfRange("subscribe", p, s.Offset)
		}
		return s.Offset, nil
	default:
		return 0, invalidArgument("subscribe", p.topic, "the start has an unknown kind")
	}
}
