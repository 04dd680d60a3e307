package affinity_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/rpc/affinity"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func members(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint("core-", i)
	}
	return all
}

func table(t testing.TB, members []string, opts ...affinity.Option) *affinity.Table {
	tb, err := affinity.NewTable(members, opts...)
	require.NoError(t, err)
	return tb
}

// Programs of different versions and in other languages must compute the same tables.
func TestMembersOfKeysDoNotChangeBetweenVersions(t *testing.T) {
	t.Parallel()
	var got []string
	tb := table(t, members(5))
	for i := range 12 {
		got = append(got, tb.Member(fmt.Sprint("device-", i)))
	}
	require.Equal(t, "core-3 core-4 core-3 core-2 core-4 core-2 core-2 core-4 core-4 core-0 core-4 core-1", strings.Join(got, " "))
	require.Equal(t, []int{398, 515, 413}, []int{tb.Partition(""), tb.Partition("a"), tb.Partition("device-1")})
}

// The other process has other hash seeds, and the members in another order.
func TestAnotherProcessComputesTheSameTable(t *testing.T) {
	t.Parallel()
	answer := func(ms []string) string {
		tb := table(t, ms)
		var b strings.Builder
		for i := range 1000 {
			b.WriteString(tb.Member(fmt.Sprint("k", i)) + " ")
		}
		return b.String()
	}
	if os.Getenv("AFFINITY_CHILD") != "" {
		reversed := members(7)
		slices.Reverse(reversed)
		fmt.Println("answer:" + answer(append(reversed, "core-3")))
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAnotherProcessComputesTheSameTable$", "-test.v")
	cmd.Env = append(os.Environ(), "AFFINITY_CHILD=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "answer:"+answer(members(7))+"\n")
}

func TestChangesMoveFewKeys(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 50; n++ {
		all := members(n + 1)
		before, after := table(t, all[:n]), table(t, all)
		ideal := 1 / float64(n+1)
		for _, m := range []struct {
			what  string
			share float64
		}{
			{"one joins", before.Moved(after)},
			{"the last leaves", after.Moved(before)},
			{"the first leaves", after.Moved(table(t, all[1:]))},
			{"one in the middle leaves", after.Moved(table(t, slices.Delete(slices.Clone(all), n/2, n/2+1)))},
		} {
			require.Less(t, m.share, 1.4*ideal+0.01, "%s: %d members", m.what, n)
			require.Greater(t, m.share, 0.5*ideal, "%s: %d members", m.what, n)
		}
		if n == 1 || n == 3 || n == 10 || n == 50 {
			t.Logf("from %d to %d members: %.4f of the keys move, ideal is %.4f (%.2f times)", n, n+1, before.Moved(after), ideal, before.Moved(after)/ideal)
		}
	}
}

func TestTableProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.SliceOfN(rapid.String(), 1, 40).Draw(t, "members")
		load := rapid.Float64Range(1, 3).Draw(t, "load")
		partitions := rapid.IntRange(1, 3000).Draw(t, "partitions")
		tb, err := affinity.NewTable(ms, affinity.WithLoad(load), affinity.WithPartitions(partitions))
		if err != nil {
			t.Fatal(err)
		}
		other, _ := affinity.NewTable(rapid.Permutation(ms).Draw(t, "order"), affinity.WithLoad(load), affinity.WithPartitions(partitions))
		key := rapid.String().Draw(t, "key")
		if tb.Member(key) != other.Member(key) || tb.Moved(other) != 0 {
			t.Fatal("the order of the members changes the table")
		}
		if !slices.Contains(ms, tb.Member(key)) {
			t.Fatalf("%q is not a member", tb.Member(key))
		}
		most := int(math.Ceil(float64(partitions) / float64(len(tb.Members())) * load))
		sum := 0
		for _, n := range tb.Loads() {
			sum += n
			if n > most {
				t.Fatalf("a member has %d partitions, the bound is %d", n, most)
			}
		}
		if sum != partitions {
			t.Fatalf("%d of %d partitions have a member", sum, partitions)
		}
	})
}

func TestEmptyTablesAndInvalidOptions(t *testing.T) {
	t.Parallel()
	none := table(t, nil)
	require.Empty(t, none.Member("k"))
	require.Empty(t, none.Loads())
	require.InDelta(t, 1, none.Moved(table(t, members(1))), 0)
	for _, o := range []affinity.Option{affinity.WithPartitions(0), affinity.WithPartitions(1 << 20), affinity.WithLoad(0.9), affinity.WithLoad(math.NaN()), affinity.WithLoad(math.Inf(1))} {
		_, err := affinity.NewTable(members(1), o)
		require.Error(t, err)
		_, err = affinity.NewRouter(nil, "s", o)
		require.Error(t, err)
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{3, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ms := members(n)
			for b.Loop() {
				table(b, ms)
			}
		})
	}
}

func BenchmarkMember(b *testing.B) {
	tb := table(b, members(10))
	b.ReportAllocs()
	for b.Loop() {
		tb.Member("device-1234567")
	}
}
