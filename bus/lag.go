package bus

import (
	"cmp"
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
	held := make([]*claim, 0, len(s.held))
	for c := range s.held {
		held = append(held, c)
	}
	s.mu.Unlock()
	lags := make([]PartitionLag, 0, len(held))
	for _, c := range held {
		if l, known := c.lag(); known {
			lags = append(lags, l)
		}
	}
	slices.SortFunc(lags, func(a, b PartitionLag) int { return cmp.Compare(a.Partition, b.Partition) })
	return lags
}

func (s *Subscription) hold(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(map[*claim]struct{})
	}
	s.held[c] = struct{}{}
}

func (s *Subscription) letGo(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, c)
}

func (c *claim) fetched(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = n
}

func (c *claim) lag() (PartitionLag, bool) {
	x, ok := c.part.(driver.Extent)
	if !ok {
		return PartitionLag{}, false
	}
	next, end, known := x.Extent()
	if !known {
		return PartitionLag{}, false
	}
	c.mu.Lock()
	position := next - int64(c.ahead)
	if first := c.window.front; first != nil {
		position = first.rec.Offset
	}
	c.mu.Unlock()
	return PartitionLag{Partition: c.part.ID(), Position: position, End: max(end, position), Records: max(0, end-position)}, true
}
