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

// How much goes to one partition before another is chosen. stickyBytes is Java's: enough
// that requests are worth their while. A busy producer fills that faster than a broker
// answers, and each change of partition splits what waits for the next request among
// two: it stays for up to stickyMost, unless that takes longer than stickyTime.
const (
	stickyBytes = 16 << 10
	stickyMost  = 256 << 10
	stickyTime  = 20 * time.Millisecond
)

// partitioner chooses the partitions of one topic's records: the one that is named,
// else the one Java's default partitioner chooses for the key, else the sticky one.
// Records that are published together go to the same; so do those that come while some
// are still under way, up to a bound: they will share a request.
type partitioner struct {
	// used by sarama's goroutine for the topic alone
	sticky int32
	since  time.Time // when it was chosen
	bytes  int       // that went there
	bound  int       // of them, when to look again whether it is to stay

	underway atomic.Int64 // records without an outcome that went to a sticky partition
}

// together is what the keyless records of one Publish to one topic share, up to
// togetherBytes. It is used by sarama's goroutine for the topic alone.
type together struct {
	chosen    bool
	partition int32
	bytes     int
}

const togetherBytes = 512 << 10

func newPartitioner(string) sarama.Partitioner { return &partitioner{sticky: -1} }

// Partition implements sarama.Partitioner.
func (p *partitioner) Partition(msg *sarama.ProducerMessage, n int32) (int32, error) {
	item := msg.Metadata.(*pending)
	if item.out.Partition >= 0 {
		if item.out.Partition >= n {
			return -1, errNoSuchPartition
		}
		return item.out.Partition, nil
	}
	if msg.Key != nil {
		key, err := msg.Key.Encode()
		if err != nil {
			return -1, err
		}
		return partition.ByKey(key, n), nil
	}
	with := item.with
	if !with.chosen || with.partition >= n || with.bytes >= togetherBytes {
		if p.sticky < 0 || p.sticky >= n || p.underway.Load() == 0 || p.bytes >= p.bound && p.full() {
			p.sticky, p.since, p.bytes, p.bound = another(p.sticky, n), time.Now(), 0, stickyBytes
		}
		*with = together{chosen: true, partition: p.sticky}
	}
	size := msg.ByteSize(2)
	p.bytes += size
	with.bytes += size
	p.underway.Add(1)
	item.stuck = p
	return with.partition, nil
}

// full says whether the sticky partition has had enough.
func (p *partitioner) full() bool {
	p.bound += stickyBytes
	return p.bytes >= stickyMost || time.Since(p.since) > stickyTime
}

// another returns any of n but last, when there is another.
func another(last, n int32) int32 {
	if n == 1 {
		return 0
	}
	if last < 0 || last >= n {
		return rand.Int32N(n)
	}
	return (last + 1 + rand.Int32N(n-1)) % n
}

// RequiresConsistency implements sarama.Partitioner.
func (p *partitioner) RequiresConsistency() bool { return true }

// MessageRequiresConsistency implements sarama.DynamicConsistencyPartitioner: a record
// without a key may avoid partitions that have no leader now.
func (p *partitioner) MessageRequiresConsistency(msg *sarama.ProducerMessage) bool {
	return msg.Key != nil || msg.Metadata.(*pending).out.Partition != driver.AnyPartition
}
