package bustest_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/bustest"
)

// Goroutines that others start and end beside this test are not looked at.
func TestGoroutinesThatAreLeft(t *testing.T) {
	t.Parallel()
	others := make(chan struct{})
	defer close(others)
	go waitFor(others)
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		leaky := func(t testing.TB) {
			k := bustest.New(t, bustest.Topics("t"), bustest.CheckGoroutines())
			k.Consume("t", echo(k.Bus(), "t"))
			go waitFor(release)
		}
		got := failing(leaky)
		require.Contains(t, got, "bustest: goroutines that this test started are left:\n")
		require.Contains(t, got, "bustest_test.waitFor  ")
		close(release)
		require.Empty(t, failing(leaky))
	})
}

func waitFor(c chan struct{}) { <-c }
