package kafka

import (
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

// The vectors of UtilsTest.testMurmur2 in Apache Kafka.
func TestMurmur2IsJavas(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		require.Equal(t, want, int32(murmur2([]byte(key))), key)
	}
	// toPositive(-973932308) % 10, as Java's BuiltInPartitioner does it
	require.EqualValues(t, (-973932308&0x7fffffff)%10, javaPartition([]byte("21"), 10))
}

func choose(t *testing.T, p sarama.Partitioner, out driver.Outgoing, n int32) (int32, *pending) {
	t.Helper()
	item := &pending{out: &out}
	item.rec.Metadata = item
	if out.Key != nil {
		item.rec.Key = sarama.ByteEncoder(out.Key)
	}
	got, err := p.Partition(&item.rec, n)
	require.NoError(t, err)
	return got, item
}

func TestPartitionerSticksUntilABatchIsDone(t *testing.T) {
	t.Parallel()
	p := newPartitioner("topic")
	free := driver.Outgoing{Partition: driver.AnyPartition}
	first, item := choose(t, p, free, 8)
	for range 100 {
		again, _ := choose(t, p, free, 8)
		require.Equal(t, first, again)
	}
	named, _ := choose(t, p, driver.Outgoing{Partition: 3, Key: []byte("k")}, 8)
	require.EqualValues(t, 3, named, "a named partition goes before the key")
	item.stuck.spent.Store(true)
	next, _ := choose(t, p, free, 8)
	require.NotEqual(t, first, next)
	only, _ := choose(t, p, free, 1)
	require.Zero(t, only)
}
