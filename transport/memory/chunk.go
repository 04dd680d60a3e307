package memory

import "strings"

// The first chunk of a partition is small. Each chunk has twice the size of the one before
// it, up to the largest. A record that is larger has its own chunk.
const (
	smallestChunk = 1 << 10
	largestChunk  = 64 << 10
)

// chunks stores the texts of a partition's records one after the other, in blocks of
// memory without pointers. A text in a chunk does not move or change, so a reader can
// keep a part of it as a string. That string keeps its whole chunk in memory.
type chunks struct {
	all   []*strings.Builder // nil for a released chunk
	first int64              // the number of all[0]
}

// add appends the text of the draft. It starts a new chunk if the last one has no space
// for it, or if the record must be alone in its chunk. It returns the number of the chunk
// and the index in it.
func (c *chunks) add(d *draft, alone bool) (number int64, start int) {
	n := d.textLen()
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
	start = last.Len()
	last.Write(d.head)
	last.Write(d.lengths)
	last.Write(d.names)
	last.Write(d.key)
	last.Write(d.payload)
	return c.first + int64(len(c.all)) - 1, start
}

// text returns the content of the chunk of e, from the start of the text of e.
func (c *chunks) text(e *entry) string { return c.all[e.chunk-c.first].String()[e.start:] }

// releaseBefore releases the chunks with lower numbers.
func (c *chunks) releaseBefore(number int64) {
	n := number - c.first
	if n <= 0 {
		return
	}
	clear(c.all[:n])
	c.all, c.first = c.all[n:], number
}

// release releases one chunk.
func (c *chunks) release(number int64) { c.all[number-c.first] = nil }
