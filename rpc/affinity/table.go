package affinity

import (
	"errors"
	"math"
	"slices"
)

// Option configures a Table.
type Option func(*config) error

type config struct {
	partitions int
	load       float64
}

// Partitions sets how many partitions a table has: the more, the evener is the load,
// and the longer it takes to make. All callers must use the same. From 1 to 65,536;
// default 1117.
func Partitions(n int) Option {
	return func(c *config) error {
		if n < 1 || n > 1<<16 {
			return errors.New("affinity: the number of partitions is not from 1 to 65536")
		}
		c.partitions = n
		return nil
	}
}

// Load bounds the partitions of a member, as a multiple of the mean, rounded up. Less
// is evener, and moves more when members come and go. All callers must use the same.
// From 1; default 1.1.
func Load(factor float64) Option {
	return func(c *config) error {
		if !(factor >= 1) || math.IsInf(factor, 0) {
			return errors.New("affinity: the load is less than 1")
		}
		c.load = factor
		return nil
	}
}

// Table maps keys to members. It does not change, and is safe for concurrent use.
type Table struct {
	members []string // sorted
	owner   []int32  // by partition: an index into members
}

// New returns the table of these members, in whatever order, twice or once. None is
// valid: then keys have no member.
func New(members []string, opts ...Option) (*Table, error) {
	c := config{partitions: 1117, load: 1.1}
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
	room := make([]int, len(t.members))
	most := min(c.partitions, int(math.Ceil(float64(c.partitions)/float64(len(t.members))*c.load)))
	for i, m := range t.members {
		hashes[i], room[i] = hash(m), most
	}
	for p := range t.owner {
		salt, best, high := mix(uint64(p)+1), -1, uint64(0)
		for i, h := range hashes {
			if room[i] == 0 {
				continue
			}
			if s := mix(h ^ salt); best < 0 || s > high {
				best, high = i, s
			}
		}
		t.owner[p] = int32(best)
		room[best]--
	}
	return t
}

// Member returns the member that key belongs to, "" when there are none.
func (t *Table) Member(key string) string {
	if len(t.members) == 0 {
		return ""
	}
	return t.members[t.owner[t.Partition(key)]]
}

// Partition returns the partition that key belongs to, whatever the members.
func (t *Table) Partition(key string) int { return int(mix(hash(key)) % uint64(len(t.owner))) }

// Members returns the members, sorted.
func (t *Table) Members() []string { return slices.Clone(t.members) }

// Loads returns how many partitions each member has, in the order of Members.
func (t *Table) Loads() []int {
	loads := make([]int, len(t.members))
	if len(loads) > 0 {
		for _, o := range t.owner {
			loads[o]++
		}
	}
	return loads
}

// Moved returns the share of the partitions, from 0 to 1, whose member is another one
// in the table to. It is 1 when the tables have different numbers of partitions, or
// one of them has no members.
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

// hash is FNV-1a. A seeded hash would differ from process to process.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads what differs in few bits: the finalizer of MurmurHash3.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
