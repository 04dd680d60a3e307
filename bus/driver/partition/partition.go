// Package partition chooses the partition for a key in the same way as the default
// partitioner of Kafka's Java client. So every transport, and every Java client of the same
// topic, sends a key to the same partition.
//
//	p := partition.ByKey([]byte("device-42"), 8) // the same as in Java
//
// Use it only for messages with a key. Each transport has its own rule for messages without a key.
package partition

import "encoding/binary"

// ByKey returns the partition of key, from 0 to n-1, in a topic with n partitions. As in Kafka's
// Java client, it is murmur2(key) without its sign bit, modulo n. ByKey treats nil as an empty
// key. It panics if n is less than 1.
func ByKey(key []byte, n int32) int32 {
	if n < 1 {
		panic("partition: the number of partitions must be at least 1")
	}
	return int32(Murmur2(key)&0x7fffffff) % n
}

// Murmur2 returns the 32-bit murmur2 hash of data with the seed and the byte order
// that Kafka's clients use.
func Murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(data))
	for len(data) >= 4 {
		k := binary.LittleEndian.Uint32(data)
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
		data = data[4:]
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
