package kafka

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/driver/partition"
)

var errNoSuchPartition = errors.New("the topic has no such partition")

// These constants limit how much goes to one sticky partition before the partitioner
// chooses another. minStickyBytes is Java's value; it makes requests large enough. A busy
// producer sends that much before the broker answers, and each change of partition splits
// the next request in two. A partition therefore stays sticky for up to maxStickyBytes,
// unless that takes longer than maxStickyTime.
const (
	minStickyBytes = 16 << 10
	maxStickyBytes = 256 << 10
	maxStickyTime  = 20 * time.Millisecond
)

// partitioner chooses the partitions of the records of one topic: the partition that the
// message names, else the one that Java's default partitioner chooses for the key, else
// the sticky partition. Records that are published together go to the same partition. So
// do records that are published while others are in flight, up to a limit, because they
// can share a request.
type partitioner struct {
	// Only sarama's goroutine for the topic uses these.
	sticky   int32
	chosenAt time.Time // when sticky was chosen
	bytes    int       // sent to sticky
	checkAt  int       // the value of bytes at which to check stickyEnds again

	inFlight atomic.Int64 // records without an outcome that went to a sticky partition
}

// batchAffinity keeps the records without a key of one Publish to one topic on one
// partition, up to maxAffinityBytes. Only sarama's goroutine for the topic uses it.
type batchAffinity struct {
	chosen    bool
	partition int32
	bytes     int
}

const maxAffinityBytes = 512 << 10

func newPartitioner(string) sarama.Partitioner { return &partitioner{sticky: -1} }

// Partition implements sarama.Partitioner.
func (p *partitioner) Partition(rec *sarama.ProducerMessage, n int32) (int32, error) {
	msg := rec.Metadata.(*pendingMessage)
	if msg.out.Partition >= 0 {
		if msg.out.Partition >= n {
			return -1, errNoSuchPartition
		}
		return msg.out.Partition, nil
	}
	if rec.Key != nil {
		key, err := rec.Key.Encode()
		if err != nil {
			return -1, err
		}
		return partition.ByKey(key, n), nil
	}
	affinity := msg.affinity
	if !affinity.chosen || affinity.partition >= n || affinity.bytes >= maxAffinityBytes {
		if p.sticky < 0 || p.sticky >= n || p.inFlight.Load() == 0 || p.bytes >= p.checkAt && p.stickyEnds() {
			p.sticky, p.chosenAt, p.bytes, p.checkAt = otherPartition(p.sticky, n), time.Now(), 0, minStickyBytes
		}
		*affinity = batchAffinity{chosen: true, partition: p.sticky}
	}
	size := rec.ByteSize(2)
	p.bytes += size
	affinity.bytes += size
	p.inFlight.Add(1)
	msg.countedBy = p
	return affinity.partition, nil
}

// stickyEnds reports whether to choose another sticky partition now.
func (p *partitioner) stickyEnds() bool {
	p.checkAt += minStickyBytes
	return p.bytes >= maxStickyBytes || time.Since(p.chosenAt) > maxStickyTime
}

// otherPartition returns a random partition of n, but not current unless it is the only
// one.
func otherPartition(current, n int32) int32 {
	if n == 1 {
		return 0
	}
	if current < 0 || current >= n {
		return rand.Int32N(n)
	}
	return (current + 1 + rand.Int32N(n-1)) % n
}

// RequiresConsistency implements sarama.Partitioner.
func (p *partitioner) RequiresConsistency() bool { return true }

// MessageRequiresConsistency implements sarama.DynamicConsistencyPartitioner. A record that
// has neither a key nor a named partition can avoid partitions that have no leader.
func (p *partitioner) MessageRequiresConsistency(rec *sarama.ProducerMessage) bool {
	return rec.Key != nil || rec.Metadata.(*pendingMessage).out.Partition != driver.AnyPartition
}
