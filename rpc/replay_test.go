package rpc

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Keys whose hashes are the same are told apart: the table does what a map would.
func TestReplayTable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table, model := newReplayTable(), map[replayKey]*replayEntry{}
		hash := func(k replayKey) uint64 { return uint64(len(k.id)) % 2 }
		keys := rapid.SampledFrom([]replayKey{{"a", "1"}, {"a", "2"}, {"a", "12"}, {"b", "1"}, {"b", "12"}, {"a1", ""}, {"", "a1"}})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := keys.Draw(t, "key")
			e := table.find(hash(k), k)
			require.Same(t, model[k], e)
			if e == nil {
				e = &replayEntry{key: k, hash: hash(k)}
				table.add(e)
				model[k] = e
			} else {
				table.remove(e)
				delete(model, k)
			}
			found := 0
			for _, first := range table.byHash {
				for e := first; e != nil; e = e.same {
					found++
				}
			}
			require.Equal(t, len(model), found)
		}
	})
	table := newReplayTable()
	require.NotEqual(t, table.hash(replayKey{"a", "b"}), table.hash(replayKey{"b", "a"}))
}
