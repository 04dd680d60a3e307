package affinity

import (
	"fmt"
	"math"
	"slices"
)

// Option configures a [Table] or the tables of a [Router].
type Option func(*config) error

type config struct {
	partitions int
	load       float64
}

const maxPartitions = 1 << 16

func defaultConfig() config { return config{partitions: 1117, load: 1.1} }

// WithPartitions sets the number of partitions of a table, from 1 to 65,536. More partitions
// distribute the load more evenly, and make a table slower to compute. All callers must use
// the same number. The default is 1117.
func WithPartitions(n int) Option {
	return func(c *config) error {
		if n < 1 || n > maxPartitions {
			return fmt.Errorf("affinity: WithPartitions: must be from 1 to %d, got %d", maxPartitions, n)
		}
		c.partitions = n
		return nil
	}
}

// WithLoad limits the number of partitions of a member to factor times the mean, rounded
// up. factor must be at least 1. A smaller bound distributes the load more evenly, and
// moves more keys when members join or leave. All callers must use the same bound. The
// default is 1.1.
func WithLoad(factor float64) Option {
	return func(c *config) error {
		if !(factor >= 1) || math.IsInf(factor, 0) { // the comparison is false for NaN
			return fmt.Errorf("affinity: WithLoad: must be at least 1, got %v", factor)
		}
		c.load = factor
		return nil
	}
}

// Table assigns keys to members. It is immutable and safe for concurrent use.
type Table struct {
	members []string // sorted
	owner   []int32  // by partition: an index into members
}

// NewTable returns the table of these members. Order and duplicates do not matter. members
// may be empty: then Member returns "".
func NewTable(members []string, opts ...Option) (*Table, error) {
	c := defaultConfig()
	for _, o := range opts {
		if err := o(&c); err != nil {
			return nil, err
		}
	}
	return c.table(members), nil
}

func (c *config) table(members []string) *Table {
	t := &Table{members: slices.Clone(members), owner: make([]int32, c.partitions)}
	slices.Sort(t.members)
	t.members = slices.Compact(t.members)
	if len(t.members) == 0 {
		return t
	}
	hashes := make([]uint64, len(t.members))
	free := make([]int, len(t.members)) // how many more partitions the member may get
	most := min(c.partitions, int(math.Ceil(float64(c.partitions)/float64(len(t.members))*c.load)))
	for i, m := range t.members {
		hashes[i], free[i] = hash(m), most
	}
	for p := range t.owner {
		salt, best, high := mix(uint64(p)+1), -1, uint64(0)
		for i, h := range hashes {
			if free[i] == 0 {
				continue
			}
			if s := mix(h ^ salt); best < 0 || s > high {
				best, high = i, s
			}
		}
		t.owner[p] = int32(best)
		free[best]--
	}
	return t
}

// Member returns the member of key, or "" if the table has no members.
func (t *Table) Member(key string) string {
	if len(t.members) == 0 {
		return ""
	}
	return t.members[t.owner[t.Partition(key)]]
}

// Partition returns the partition of key. It does not depend on the members.
func (t *Table) Partition(key string) int {
	return int(mix(hash(key)) % uint64(len(t.owner))) //nolint:gosec // less than len(t.owner)
}

// Members returns the members, sorted.
func (t *Table) Members() []string { return slices.Clone(t.members) }

// Loads returns the number of partitions of each member, in the order of Members.
func (t *Table) Loads() []int {
	loads := make([]int, len(t.members))
	if len(loads) > 0 {
		for _, o := range t.owner {
			loads[o]++
		}
	}
	return loads
}

// Moved returns the share of the partitions, from 0 to 1, that belong to another member in
// the table to. It is 1 if the tables have different numbers of partitions, or if one of
// them has no members.
func (t *Table) Moved(to *Table) float64 {
	if len(t.owner) != len(to.owner) || len(t.members) == 0 || len(to.members) == 0 {
		return 1
	}
	moved := 0
	for p, o := range t.owner {
		if t.members[o] != to.members[to.owner[p]] {
			moved++
		}
	}
	return float64(moved) / float64(len(t.owner))
}

// hash is FNV-1a. It has no seed, because all processes must compute the same tables.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix is the finalizer of MurmurHash3. A change of one input bit changes about half of the
// output bits.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
