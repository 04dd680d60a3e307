package bus

import (
	"cmp"
	"maps"
	"slices"

	"github.com/trunkline/trunkline/bus/driver"
)

// PartitionLag says how far a subscription is behind in a partition that it holds.
type PartitionLag struct {
	Partition int32
	// Position is the offset of the first record that is not acknowledged.
	Position int64
	// End is the offset that the next record of the log gets, as the transport heard last.
	End int64
	// Records is how many there are from Position to End; fewer, where the log has gaps.
	Records int64
}

// Lag returns how far the subscription is behind in each partition that it holds and of
// which the transport knows the end, by partition. It asks nobody and does not wait: the
// ends are those of the last fetch. Without a broker they stay what they were.
func (s *Subscription) Lag() []PartitionLag {
	s.mu.Lock()
	held := maps.Clone(s.held)
	s.mu.Unlock()
	lags := make([]PartitionLag, 0, len(held))
	for c, start := range held {
		if l, known := c.lag(start); known {
			lags = append(lags, l)
		}
	}
	slices.SortFunc(lags, func(a, b PartitionLag) int { return cmp.Compare(a.Partition, b.Partition) })
	return lags
}

// hold is called before c has fetched anything: it notes where c begins.
func (s *Subscription) hold(c *claim) {
	start := int64(0)
	if x, ok := c.part.(driver.Extent); ok {
		start, _, _ = x.Extent()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(map[*claim]int64)
	}
	s.held[c] = start
}

func (s *Subscription) letGo(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, c)
}

// lag goes by what was handed out, and by where the claim began. Where the transport goes
// on fetching says nothing: it is past what Fetch is about to return.
func (c *claim) lag(start int64) (PartitionLag, bool) {
	x, ok := c.part.(driver.Extent)
	if !ok {
		return PartitionLag{}, false
	}
	_, end, known := x.Extent()
	if !known {
		return PartitionLag{}, false
	}
	c.mu.Lock()
	position := max(start, c.window.next)
	if first := c.window.front; first != nil {
		position = first.rec.Offset
	}
	c.mu.Unlock()
	return PartitionLag{Partition: c.part.ID(), Position: position, End: max(end, position), Records: max(0, end-position)}, true
}
