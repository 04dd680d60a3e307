package replay

import (
	"hash/maphash"
	"math/bits"
)

// table finds entries by key. Its map is indexed by hashes instead of keys, so that a
// removal does not read the key of the entry. The key of the least recently used entry is
// rarely in the CPU cache, and reading it would cost more than the rest of the removal.
type table struct {
	seed   maphash.Seed
	byHash map[uint64]*Entry // entries with the same hash are linked by Entry.same
}

func newTable() table {
	return table{maphash.MakeSeed(), map[uint64]*Entry{}}
}

func (t *table) hash(key Key) uint64 {
	return bits.RotateLeft64(maphash.String(t.seed, key.caller), 32) ^ maphash.String(t.seed, key.id)
}

// find returns nil if there is no entry for key.
func (t *table) find(hash uint64, key Key) *Entry {
	e := t.byHash[hash]
	for e != nil && e.key != key {
		e = e.same
	}
	return e
}

func (t *table) add(e *Entry) {
	e.same = t.byHash[e.hash]
	t.byHash[e.hash] = e
}

func (t *table) remove(e *Entry) {
	first := t.byHash[e.hash]
	switch {
	case first != e:
		previous := first
		for previous.same != e {
			previous = previous.same
		}
		previous.same = e.same
	case e.same != nil:
		t.byHash[e.hash] = e.same
	default:
		delete(t.byHash, e.hash)
	}
	e.same = nil
}

// recency lists the entries that have a reply, the most recently used first. The links are
// in the entries, because separate list elements would cost one allocation for each
// request.
type recency struct {
	newest, oldest *Entry
	len            int
}

// add makes e the newest entry. e must not be in the list.
func (l *recency) add(e *Entry) {
	e.older = l.newest
	if l.newest != nil {
		l.newest.newer = e
	} else {
		l.oldest = e
	}
	l.newest = e
	l.len++
}

func (l *recency) remove(e *Entry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		l.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		l.oldest = e.newer
	}
	e.newer, e.older = nil, nil
	l.len--
}
