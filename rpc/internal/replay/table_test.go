package replay

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTableDistinguishesKeysWithEqualHashes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tab, model := newTable(), map[Key]*Entry{}
		hash := func(k Key) uint64 { return uint64(len(k.id)) % 2 }
		keys := rapid.SampledFrom([]Key{{"a", "1"}, {"a", "2"}, {"a", "12"}, {"b", "1"}, {"b", "12"}, {"a1", ""}, {"", "a1"}})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := keys.Draw(t, "key")
			e := tab.find(hash(k), k)
			require.Same(t, model[k], e)
			if e == nil {
				e = &Entry{key: k, hash: hash(k)}
				tab.add(e)
				model[k] = e
			} else {
				tab.remove(e)
				delete(model, k)
			}
			found := 0
			for _, first := range tab.byHash {
				for e := first; e != nil; e = e.same {
					found++
				}
			}
			require.Equal(t, len(model), found)
		}
	})
}

func TestHashDependsOnTheOrderOfCallerAndID(t *testing.T) {
	t.Parallel()
	tab := newTable()
	require.NotEqual(t, tab.hash(Key{"a", "b"}), tab.hash(Key{"b", "a"}))
}
