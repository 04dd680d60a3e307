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

func choose(t *testing.T, p sarama.Partitioner, out driver.Outgoing, n int32, with *together) (int32, *pending) {
	t.Helper()
	item := &pending{out: &out, with: with}
	item.rec.Metadata = item
	if out.Key != nil {
		item.rec.Key = sarama.ByteEncoder(out.Key)
	}
	got, err := p.Partition(&item.rec, n)
	require.NoError(t, err)
	return got, item
}

func TestPartitionerSticks(t *testing.T) {
	t.Parallel()
	p := newPartitioner("topic")
	free := driver.Outgoing{Partition: driver.AnyPartition}
	batch := &together{}
	first, item := choose(t, p, free, 8, batch)
	for range 1000 {
		again, other := choose(t, p, free, 8, batch)
		require.Equal(t, first, again, "what is published together stays together")
		other.settle()
	}
	named, _ := choose(t, p, driver.Outgoing{Partition: 3, Key: []byte("k")}, 8, batch)
	require.EqualValues(t, 3, named, "a named partition goes before the key")

	next, lone := choose(t, p, free, 8, &together{})
	require.NotEqual(t, first, next, "the partition has had its share")
	company, last := choose(t, p, free, 8, &together{})
	require.Equal(t, next, company, "they will share a request")
	for _, i := range []*pending{item, lone, last} {
		i.settle()
	}
	idle, _ := choose(t, p, free, 8, &together{})
	require.NotEqual(t, next, idle, "no request to share: any partition is as good")

	large := &together{bytes: togetherBytes, chosen: true, partition: next}
	moved, _ := choose(t, p, free, 8, large)
	require.Equal(t, idle, moved, "a very large batch is many requests anyway")
	only, _ := choose(t, p, free, 1, batch)
	require.Zero(t, only)
}
