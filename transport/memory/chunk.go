package memory

import "strings"

// What the texts of records are put in. A partition begins with a small chunk, and each
// one is twice the size of the one before, up to the largest; a record that is larger
// has one of its own.
const (
	smallestChunk = 1 << 10
	largestChunk  = 64 << 10
)

// chunks holds the texts of a partition's records, one after the other, in pieces of
// memory without pointers. A text that is in a chunk stays where it is and does not
// change, so parts of it can be handed out; who keeps one keeps its chunk.
type chunks struct {
	all   []*strings.Builder // nil for one that is not needed any more
	first int64              // the number of all[0]
}

// add appends the draft's text, to the last chunk unless it has no room for it or the
// record is to have one of its own. It returns where it is.
func (c *chunks) add(d *draft, alone bool) (number int64, at int) {
	n := d.text()
	var last *strings.Builder
	if len(c.all) > 0 {
		last = c.all[len(c.all)-1]
	}
	if alone || last == nil || last.Cap()-last.Len() < n {
		size := smallestChunk
		if last != nil {
			size = min(2*last.Cap(), largestChunk)
		}
		if alone {
			size = 0
		}
		last = new(strings.Builder)
		last.Grow(max(size, n))
		c.all = append(c.all, last)
	}
	at = last.Len()
	last.Write(d.head)
	last.Write(d.lengths)
	last.Write(d.names)
	last.Write(d.key)
	last.Write(d.payload)
	return c.first + int64(len(c.all)) - 1, at
}

// text returns what is in the chunk from e's text on.
func (c *chunks) text(e *entry) string { return c.all[e.chunk-c.first].String()[e.at:] }

// drop lets go of the chunks before this one.
func (c *chunks) drop(before int64) {
	n := before - c.first
	if n <= 0 {
		return
	}
	clear(c.all[:n])
	c.all, c.first = c.all[n:], before
}

// free lets go of one chunk.
func (c *chunks) free(number int64) { c.all[number-c.first] = nil }
