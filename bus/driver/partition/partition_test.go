package partition_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver/partition"
	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The hashes are from UtilsTest.testMurmur2 of Apache Kafka.
var javaHashes = map[string]int32{
	"21":                         -973932308,
	"foobar":                     -790332482,
	"a-little-bit-long-string":   -985981536,
	"a-little-bit-longer-string": -1486304829,
	"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
	"abc": 479470107,
}

func TestMurmur2ReturnsTheHashesOfJava(t *testing.T) {
	t.Parallel()
	for key, want := range javaHashes {
		require.Equal(t, want, int32(partition.Murmur2([]byte(key))), key)
	}
}

func TestByKeyReturnsThePartitionsOfJava(t *testing.T) {
	t.Parallel()
	for key, hash := range javaHashes {
		for _, n := range []int32{1, 2, 3, 8, 100, 1<<31 - 1} {
			require.Equal(t, (hash&0x7fffffff)%n, partition.ByKey([]byte(key), n), "%s of %d", key, n)
		}
	}
}

func TestByKeyTreatsNilAsAnEmptyKey(t *testing.T) {
	t.Parallel()
	require.Equal(t, partition.ByKey(nil, 7), partition.ByKey([]byte{}, 7))
	require.Panics(t, func() { partition.ByKey([]byte("a"), 0) })
}

func BenchmarkByKey(b *testing.B) {
	key := []byte("device-1234567890")
	for b.Loop() {
		partition.ByKey(key, 8)
	}
}

func ExampleByKey() {
	fmt.Println(partition.ByKey([]byte("foobar"), 8), partition.ByKey([]byte("abc"), 8))
	// Output: 6 3
}
