package memory

import (
	"sort"
	"strings"
	"time"
)

// compaction is the additional state of a partition that keeps only the latest record of
// each key. Guarded by partition.mu.
//
// A record that is replaced leaves an empty slot in the ring, so that the other records keep
// their slots. When more than half of the slots are empty, they are removed. An append
// therefore moves only a few entries on average, and the size of the ring is proportional to
// the number of keys.
type compaction struct {
	offsets map[string]int64 // key to the offset of its latest record
	empty   int              // number of empty slots
	// tombstones are those that must still be dropped, oldest first. Some of them may have
	// been replaced.
	tombstones []tombstone
}

type tombstone struct {
	offset  int64
	expires time.Time
}

// minSweep is the lowest number of empty slots at which appended removes them.
const minSweep = 64

func newCompaction(l limits) *compaction {
	if !l.compact {
		return nil
	}
	return &compaction{offsets: map[string]int64{}}
}

// count returns the number of records in a compacted partition.
func (p *partition) count() int { return int(p.hi-p.lo) - p.compaction.empty }

// oldest returns the offset of the oldest record, or end if there is none.
func (p *partition) oldest() int64 {
	if p.lo == p.hi {
		return p.end
	}
	return p.offsetAt(p.lo)
}

func (p *partition) offsetAt(slot int64) int64 {
	if p.compaction == nil {
		return slot
	}
	return p.at(slot).offset
}

// latest returns the record that a new record with this key replaces, nil if there is
// none.
func (p *partition) latest(key []byte) *entry {
	offset, ok := p.compaction.offsets[string(key)]
	if !ok {
		return nil
	}
	return p.at(p.slotOf(offset))
}

// slotOf returns the first slot whose offset is at least offset.
func (p *partition) slotOf(offset int64) int64 {
	n := sort.Search(int(p.hi-p.lo), func(i int) bool { return p.at(p.lo+int64(i)).offset >= offset })
	return p.lo + int64(n)
}

// remove empties the slot of e. The caller then calls skipEmpty, because the first slot
// must not be empty.
func (p *partition) remove(e *entry) {
	p.bytes -= e.size
	delete(p.compaction.offsets, decodeKey(p.chunks.text(e)))
	p.compaction.empty++
	p.chunks.release(e.chunk)
	*e = entry{offset: e.offset, chunk: e.chunk, size: -1}
}

// skipEmpty removes the empty slots at the front.
func (p *partition) skipEmpty() {
	for p.lo < p.hi && p.at(p.lo).empty() {
		p.lo++
		p.compaction.empty--
	}
	p.chunks.releaseBefore(p.lo)
}

// appended updates the state for the record that push has just appended from d. It
// removes the empty slots if there are too many.
func (p *partition) appended(d *draft) {
	c, offset := p.compaction, p.end-1
	c.offsets[string(d.key)] = offset
	if len(d.payload) == 0 {
		c.tombstones = append(c.tombstones, tombstone{offset, time.Now().Add(p.limits.tombstones)})
	}
	if slots := int(p.hi - p.lo); c.empty < minSweep || c.empty <= slots/2 {
		return
	}
	size := 8
	for size < 2*p.count() {
		size *= 2
	}
	ring, all := make([]entry, size), make([]*strings.Builder, 0, size)
	for slot := p.lo; slot < p.hi; slot++ {
		if e := p.at(slot); !e.empty() {
			n := len(all)
			ring[n] = *e
			ring[n].chunk = int64(n)
			all = append(all, p.chunks.all[e.chunk-p.chunks.first])
		}
	}
	p.chunks = chunks{all: all}
	p.ring, p.lo, p.hi, c.empty = ring, 0, int64(len(all)), 0
}

// dropTombstones removes the tombstones that have expired.
func (p *partition) dropTombstones(now time.Time) {
	c := p.compaction
	for len(c.tombstones) > 0 && c.tombstones[0].expires.Before(now) {
		offset := c.tombstones[0].offset
		c.tombstones = c.tombstones[1:]
		if slot := p.slotOf(offset); slot < p.hi {
			if e := p.at(slot); e.offset == offset && !e.empty() {
				p.remove(e)
			}
		}
	}
	p.skipEmpty()
}
