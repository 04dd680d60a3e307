package kafka

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

func choose(t *testing.T, p sarama.Partitioner, out driver.Outgoing, n int32, affinity *batchAffinity) (int32, *pendingMessage) {
	t.Helper()
	item := &pendingMessage{out: &out, affinity: affinity}
	item.rec.Metadata = item
	item.rec.Value = sarama.ByteEncoder(out.Payload)
	if out.Key != nil {
		item.rec.Key = sarama.ByteEncoder(out.Key)
	}
	got, err := p.Partition(&item.rec, n)
	require.NoError(t, err)
	return got, item
}

func TestKeyedRecordsGoToJavasPartition(t *testing.T) {
	t.Parallel()
	p := newPartitioner("topic")
	// These are the hashes in Apache Kafka's own tests of murmur2.
	for key, hash := range map[string]int32{"21": -973932308, "foobar": -790332482, "abc": 479470107} {
		got, _ := choose(t, p, driver.Outgoing{Partition: driver.AnyPartition, Key: []byte(key)}, 10, &batchAffinity{})
		require.Equal(t, (hash&0x7fffffff)%10, got, key)
	}
}

func TestBusyPartitionerSticksLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		payload := make([]byte, 1<<10)
		stay := func(p sarama.Partitioner, pause time.Duration) (bytes int) {
			first := int32(-1)
			for {
				got, item := choose(t, p, driver.Outgoing{Partition: driver.AnyPartition, Payload: payload}, 8, &batchAffinity{})
				if first < 0 {
					first = got
				}
				if got != first {
					return bytes
				}
				bytes += item.rec.ByteSize(2)
				time.Sleep(pause)
			}
		}
		require.InDelta(t, minStickyBytes, stay(newPartitioner("slow"), 2*time.Millisecond), 3<<10)
		require.InDelta(t, maxStickyBytes, stay(newPartitioner("fast"), 0), 3<<10)
	})
}

func TestPartitionerSticksWithinLimits(t *testing.T) {
	t.Parallel()
	p := newPartitioner("topic")
	free := driver.Outgoing{Partition: driver.AnyPartition}
	batch := &batchAffinity{}
	first, item := choose(t, p, free, 8, batch)
	for range 10_000 {
		again, other := choose(t, p, free, 8, batch)
		require.Equal(t, first, again, "messages of one batch must go to one partition")
		other.leaveInFlight()
	}
	named, _ := choose(t, p, driver.Outgoing{Partition: 3, Key: []byte("k")}, 8, batch)
	require.EqualValues(t, 3, named, "the named partition must take precedence over the key")

	next, alone := choose(t, p, free, 8, &batchAffinity{})
	require.NotEqual(t, first, next, "the sticky partition has reached its limit")
	sameSticky, last := choose(t, p, free, 8, &batchAffinity{})
	require.Equal(t, next, sameSticky, "while a record is in flight, the next can share a request")
	for _, i := range []*pendingMessage{item, alone, last} {
		i.leaveInFlight()
	}
	newSticky, _ := choose(t, p, free, 8, &batchAffinity{})
	require.NotEqual(t, next, newSticky, "with no record in flight, another partition must be chosen")

	large := &batchAffinity{bytes: maxAffinityBytes, chosen: true, partition: next}
	afterLarge, _ := choose(t, p, free, 8, large)
	require.Equal(t, newSticky, afterLarge, "a batch above the limit must continue at the sticky partition")
	only, _ := choose(t, p, free, 1, batch)
	require.Zero(t, only)
}
