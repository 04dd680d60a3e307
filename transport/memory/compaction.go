package memory

import (
	"sort"
	"strings"
	"time"
)

// DefaultTombstoneRetention is how long a compacted topic keeps a tombstone.
const DefaultTombstoneRetention = 24 * time.Hour

// compaction is what a partition that keeps the latest record of each key knows
// besides. Guarded by partition.mu.
//
// A record that is superseded leaves an empty slot in the ring, so that the others
// stay where they are; when more than half of the slots are empty they are swept out.
// That makes an append cost a few moves at the most, on average, and bounds the ring
// by the number of keys.
type compaction struct {
	latest map[string]int64 // by key: the offset of its record
	empty  int              // slots that hold no record
	// tombstones are those that are still to go, the oldest first. Some may have been
	// superseded.
	tombstones []tombstone
}

type tombstone struct {
	offset int64
	until  time.Time
}

// leastSweep is how many empty slots are worth sweeping.
const leastSweep = 64

func newCompaction(l limits) *compaction {
	if !l.compact {
		return nil
	}
	return &compaction{latest: map[string]int64{}}
}

// count is how many records a compacted partition holds.
func (p *partition) count() int { return int(p.hi-p.lo) - p.compaction.empty }

// oldest is the offset of the oldest record, or the end.
func (p *partition) oldest() int64 {
	if p.lo == p.hi {
		return p.end
	}
	return p.offsetAt(p.lo)
}

func (p *partition) offsetAt(position int64) int64 {
	if p.compaction == nil {
		return position
	}
	return p.at(position).offset
}

// superseded returns the record that one with this key takes the place of, nil for
// none.
func (p *partition) superseded(key []byte) *entry {
	offset, ok := p.compaction.latest[string(key)]
	if !ok {
		return nil
	}
	return p.at(p.seek(offset))
}

// seek returns the position of the first slot whose offset is not below this one.
func (p *partition) seek(offset int64) int64 {
	n := sort.Search(int(p.hi-p.lo), func(i int) bool { return p.at(p.lo+int64(i)).offset >= offset })
	return p.lo + int64(n)
}

// remove empties e's slot. The caller sees to it that the first slot is not empty.
func (p *partition) remove(e *entry) {
	p.bytes -= e.size
	delete(p.compaction.latest, keyIn(p.chunks.text(e)))
	p.compaction.empty++
	p.chunks.free(e.chunk)
	*e = entry{offset: e.offset, chunk: e.chunk, size: -1}
}

// skipEmpty lets the ring begin with a record again.
func (p *partition) skipEmpty() {
	for p.lo < p.hi && p.at(p.lo).empty() {
		p.lo++
		p.compaction.empty--
	}
	p.chunks.drop(p.lo)
}

// appended notes the record at the end of the ring, of which d was the draft, and
// sweeps when that is due.
func (p *partition) appended(d *draft) {
	c, offset := p.compaction, p.end-1
	c.latest[string(d.key)] = offset
	if len(d.payload) == 0 {
		c.tombstones = append(c.tombstones, tombstone{offset, time.Now().Add(p.limits.tombstones)})
	}
	if slots := int(p.hi - p.lo); c.empty < leastSweep || c.empty <= slots/2 {
		return
	}
	size := 8
	for size < 2*p.count() {
		size *= 2
	}
	ring, all := make([]entry, size), make([]*strings.Builder, 0, size)
	for pos := p.lo; pos < p.hi; pos++ {
		if e := p.at(pos); !e.empty() {
			n := len(all)
			ring[n] = *e
			ring[n].chunk = int64(n)
			all = append(all, p.chunks.all[e.chunk-p.chunks.first])
		}
	}
	p.chunks = chunks{all: all}
	p.ring, p.lo, p.hi, c.empty = ring, 0, int64(len(all)), 0
}

// expireTombstones removes those whose time has come.
func (p *partition) expireTombstones(now time.Time) {
	c := p.compaction
	for len(c.tombstones) > 0 && c.tombstones[0].until.Before(now) {
		offset := c.tombstones[0].offset
		c.tombstones = c.tombstones[1:]
		if pos := p.seek(offset); pos < p.hi {
			if e := p.at(pos); e.offset == offset && !e.empty() {
				p.remove(e)
			}
		}
	}
	p.skipEmpty()
}
