package bus_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestAttachReturnsTheSameValueForAKey(t *testing.T) {
	t.Parallel()
	tr, err := memory.New()
	require.NoError(t, err)
	b, err := bus.New(tr)
	require.NoError(t, err)
	defer b.Close()
	type key struct{ n int }
	var all sync.WaitGroup
	made := make([]int, 4) // guarded by Attach
	for i := range 40 {
		all.Go(func() {
			n := i % len(made)
			v := seam.Of(b).Attach(key{n}, func() any { made[n]++; return &made[n] })
			if v != any(&made[n]) {
				t.Errorf("key %d got the value of another key", n)
			}
		})
	}
	all.Wait()
	require.Equal(t, []int{1, 1, 1, 1}, made)
}
