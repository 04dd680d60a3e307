package bustest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/bustest"
)

// Goroutines that other tests, which run beside this one, start and end are not looked at.
func TestGoroutinesThatAreLeft(t *testing.T) {
	t.Parallel()
	others, release := make(chan struct{}), make(chan struct{})
	defer close(others)
	go func() { <-others }()
	leaky := func(t testing.TB) {
		k := bustest.New(t, bustest.Topics("t"), bustest.CheckGoroutines(), bustest.Patience(50*time.Millisecond))
		k.Consume("t", echo(k.Bus(), "t"))
		go waitFor(release)
	}
	got := failing(leaky)
	require.Contains(t, got, "bustest: goroutines that this test started are left:\n")
	require.Contains(t, got, "bustest_test.waitFor  ")
	close(release)
	require.Empty(t, failing(leaky))
}

func waitFor(c chan struct{}) { <-c }
