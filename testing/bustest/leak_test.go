package bustest_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/bustest"
)

// The check ignores the goroutines of other tests.
func TestGoroutineCheckFindsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	others := make(chan struct{})
	defer close(others)
	go waitFor(others)
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		leaky := func(t testing.TB) {
			k := bustest.New(t, bustest.WithTopics("t"), bustest.WithGoroutineCheck())
			k.Consume("t", echo(k.Bus(), "t"))
			go waitFor(release)
		}
		got := runTest(leaky)
		require.Contains(t, got, "bustest: goroutines of this test still run:\n")
		require.Contains(t, got, "bustest_test.waitFor  ")
		close(release)
		require.Empty(t, runTest(leaky))
	})
}

func waitFor(c chan struct{}) { <-c }
