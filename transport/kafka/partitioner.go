package kafka

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

var errNoSuchPartition = errors.New("the topic has no such partition")

// partitioner chooses the partitions of one topic's records: the one that is named,
// else the one Java's default partitioner chooses for the key, else any, and then the
// same one until a batch with it is done, so that batches form.
type partitioner struct {
	sticky int32       // used by sarama's goroutine for the topic alone
	spent  atomic.Bool // a batch to the sticky partition is done: choose another
}

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
		return javaPartition(key, n), nil
	}
	if p.sticky < 0 || p.sticky >= n || p.spent.Swap(false) {
		p.sticky = another(p.sticky, n)
	}
	item.stuck = p
	return p.sticky, nil
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

// javaPartition is Utils.toPositive(Utils.murmur2(key)) % n.
func javaPartition(key []byte, n int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % n
}

// murmur2 is the hash of Java's client, seed and all.
func murmur2(data []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
