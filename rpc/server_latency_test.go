package rpc

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBucketsHaveNoGaps(t *testing.T) {
	t.Parallel()
	end := time.Duration(-1)
	for i := range histogramBuckets {
		require.Equal(t, i, bucketOf(end+1), "the first of bucket %d", i)
		end = bucketEnd(i)
		require.Equal(t, i, bucketOf(end), "the last of bucket %d", i)
	}
	require.Greater(t, end, 9*time.Hour)
	require.Equal(t, histogramBuckets-1, bucketOf(1<<62))
	require.Zero(t, bucketOf(-1))
}

func TestQuantilesAreAtMostOneEighthTooLarge(t *testing.T) {
	t.Parallel()
	var h histogram
	require.Zero(t, h.latency())
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]time.Duration, 20_000)
	sum := time.Duration(0)
	for i := range all {
		all[i] = time.Duration(r.ExpFloat64() * float64(time.Millisecond))
		sum += all[i]
		h.add(all[i])
	}
	slices.Sort(all)
	l := h.latency()
	for _, p := range []struct {
		got      time.Duration
		permille int
	}{{l.P50, 500}, {l.P90, 900}, {l.P99, 990}, {l.P999, 999}} {
		exact := all[len(all)*p.permille/1000-1]
		require.GreaterOrEqual(t, p.got, exact)
		require.LessOrEqual(t, float64(p.got), 1.125*float64(exact)+1)
	}
	require.Equal(t, all[len(all)-1], l.Max)
	require.Equal(t, sum/time.Duration(len(all)), l.Mean)
}

func FuzzHistogram(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(7))
	f.Add(int64(8))
	f.Add(int64(1 << 45))
	f.Add(int64(-1 << 63))
	f.Add(int64(1<<63 - 1))
	f.Fuzz(func(t *testing.T, ns int64) {
		var h histogram
		d := time.Duration(ns)
		h.add(d)
		if l := h.latency(); d > 0 && (l.Max != d || l.P50 > d || l.P50 != l.P999) {
			t.Fatalf("%v is reported as %+v", d, l)
		}
	})
}
