package soak_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// sarama's metrics library keeps one goroutine for the whole process.
var metrics = goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, metrics) }

// noGoroutineIsLeft looks for goroutines when everything that is made after this call, an
// embedded broker among it, is closed. It waits for those that end by themselves: sarama's
// circuit breaker, once open, sleeps for ten seconds whatever becomes of its client.
func noGoroutineIsLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		err := goleak.Find(before, metrics)
		for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); {
			err = goleak.Find(before, metrics) // which waits a little itself
		}
		require.NoError(t, err)
	})
}
