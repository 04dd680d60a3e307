package rpc

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets. Each power of two has eight buckets, so quantiles
// are exact to 12.5 %. Its size is fixed, 2.7 KiB. It is safe for concurrent use. The zero
// value is empty.
type histogram struct {
	buckets [histogramBuckets]atomic.Uint64
	count   atomic.Uint64
	sum     atomic.Int64 // nanoseconds
	max     atomic.Int64
}

// The last bucket counts everything longer than nine hours.
const histogramBuckets = (45-3)*8 + 8

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < 8 {
		return int(v)
	}
	shift := bits.Len64(v) - 4                            // v>>shift is from 8 to 15
	return min(shift*8+int(v>>shift), histogramBuckets-1) //nolint:gosec // v>>shift is less than 16
}

// bucketEnd returns the longest duration of a bucket.
func bucketEnd(i int) time.Duration {
	if i < 16 {
		return time.Duration(i)
	}
	shift := i/8 - 1
	return time.Duration((uint64(i%8+8)+1)<<shift - 1) //nolint:gosec // at most 16<<41
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)].Add(1)
	h.count.Add(1)
	h.sum.Add(int64(d))
	for {
		m := h.max.Load()
		if int64(d) <= m || h.max.CompareAndSwap(m, int64(d)) {
			return
		}
	}
}

// Latency is a distribution of durations. The quantiles P50 to P999 are at most 12.5 % too
// large; Max and Mean are exact. All fields are zero if there were no durations.
type Latency struct {
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
	Mean time.Duration `json:"mean_ns"`
}

func (h *histogram) latency() Latency {
	var counts [histogramBuckets]uint64
	total := uint64(0)
	for i := range counts {
		counts[i] = h.buckets[i].Load()
		total += counts[i]
	}
	if total == 0 {
		return Latency{}
	}
	longest := time.Duration(h.max.Load())
	at := func(permille uint64) time.Duration {
		want := (total*permille + 999) / 1000
		for i, n := range counts {
			if want <= n {
				return min(bucketEnd(i), longest)
			}
			want -= n
		}
		return longest
	}
	mean := time.Duration(h.sum.Load() / int64(max(h.count.Load(), 1))) //nolint:gosec // a count of calls fits
	return Latency{P50: at(500), P90: at(900), P99: at(990), P999: at(999), Max: longest, Mean: mean}
}
