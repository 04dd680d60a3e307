package memory

import (
	"slices"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus/driver"
	javapartition "github.com/trunkline/trunkline/bus/driver/partition"
)

// topic is a named set of partitions. Log.mu guards the fields, except for the atomic
// ones, which publishers read without a lock.
type topic struct {
	name   string
	limits limits
	// partitions only grows. The slice that it points to never changes.
	partitions atomic.Pointer[[]*partition]
	// roundRobin counts the messages without a key, to spread them over the partitions.
	roundRobin atomic.Uint32

	groups map[string]*group
	// sessions are the open sessions of the topic, connected or not.
	sessions []*session
	// listeners is len(sessions), for readers without a lock.
	listeners atomic.Int32
}

func newTopic(name string, partitions int32, l limits) *topic {
	t := &topic{name: name, limits: l, groups: map[string]*group{}}
	t.partitions.Store(new([]*partition))
	t.publishPartitions(t.newPartitions(partitions))
	return t
}

func (t *topic) all() []*partition { return *t.partitions.Load() }

// newPartitions makes the next n partitions. They are not part of the topic before
// publishPartitions.
func (t *topic) newPartitions(n int32) []*partition {
	first := int32(len(t.all()))
	added := make([]*partition, n)
	for i := range added {
		added[i] = newPartition(t.name, first+int32(i), t.limits)
	}
	return added
}

// publishPartitions makes added visible to publishers.
func (t *topic) publishPartitions(added []*partition) {
	all := slices.Concat(t.all(), added)
	t.partitions.Store(&all)
}

// choose returns the partition for o.
func (t *topic) choose(o *driver.Outgoing) (*partition, error) {
	all := t.all()
	switch {
	case o.Partition >= 0 && int(o.Partition) < len(all):
		return all[o.Partition], nil
	case o.Partition != driver.AnyPartition:
		return nil, partitionNotFound("publish", t.name, o.Partition, len(all))
	case len(all) == 1:
		return all[0], nil
	case o.Key != nil:
		return all[javapartition.ByKey(o.Key, int32(len(all)))], nil
	default:
		return all[(t.roundRobin.Add(1)-1)%uint32(len(all))], nil
	}
}

// group returns the group with this name. It creates the group if there is none.
func (t *topic) group(name string) *group {
	g := t.groups[name]
	if g == nil {
		g = &group{name: name, topic: t}
		t.groups[name] = g
	}
	g.addPartitions(t.all())
	return g
}

// delete marks every partition as deleted, and wakes the publishers that wait for space.
func (t *topic) delete(cause error) {
	for _, p := range t.all() {
		p.mu.Lock()
		p.deleted = cause
		publishers := slices.Clone(p.publishers)
		p.mu.Unlock()
		for _, w := range publishers {
			w.wake()
		}
	}
}
