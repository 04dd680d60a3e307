package memory

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus/driver"
	javapartition "github.com/trunkline/trunkline/bus/driver/partition"
)

// topic is a named set of partitions. Fields are guarded by Log.mu, but for the
// atomic ones, which publishers read without it.
type topic struct {
	name   string
	limits limits
	// partitions only ever grows; the slice behind it is never changed.
	partitions atomic.Pointer[[]*partition]
	// turn spreads the messages without a key.
	turn atomic.Uint32

	groups map[string]*group
	// sessions are those that found the topic, connected now or not.
	sessions []*session
	// listeners is how many sessions there are.
	listeners atomic.Int32
}

func newTopic(name string, partitions int32, l limits) *topic {
	t := &topic{name: name, limits: l, groups: map[string]*group{}}
	t.partitions.Store(new([]*partition))
	t.addPartitions(t.morePartitions(partitions))
	return t
}

func (t *topic) all() []*partition { return *t.partitions.Load() }

// morePartitions makes n partitions that follow those that are there; nobody sees
// them before addPartitions.
func (t *topic) morePartitions(n int32) []*partition {
	first := int32(len(t.all()))
	added := make([]*partition, n)
	for i := range added {
		added[i] = newPartition(t.name, first+int32(i), t.limits)
	}
	return added
}

func (t *topic) addPartitions(added []*partition) {
	all := slices.Concat(t.all(), added)
	t.partitions.Store(&all)
}

// choose returns the partition o goes to.
func (t *topic) choose(o *driver.Outgoing) (*partition, error) {
	all := t.all()
	switch {
	case o.Partition >= 0 && int(o.Partition) < len(all):
		return all[o.Partition], nil
	case o.Partition != driver.AnyPartition:
		return nil, failure(driver.CodeNotFound, "publish", t.name,
			fmt.Sprintf("there is no partition %d, the topic has %d", o.Partition, len(all)), nil)
	case len(all) == 1:
		return all[0], nil
	case o.Key != nil:
		return all[javapartition.ByKey(o.Key, int32(len(all)))], nil
	default:
		return all[(t.turn.Add(1)-1)%uint32(len(all))], nil
	}
}

// group returns the group of that name, and makes it when it isn't there.
func (t *topic) group(name string) *group {
	g := t.groups[name]
	if g == nil {
		g = &group{name: name, topic: t}
		t.groups[name] = g
	}
	g.grow(t.all())
	return g
}

// close ends every partition: publishers that wait there are told why.
func (t *topic) close(cause error) {
	for _, p := range t.all() {
		p.mu.Lock()
		p.gone = cause
		queue := slices.Clone(p.queue)
		p.mu.Unlock()
		for _, w := range queue {
			w.wake()
		}
	}
}
