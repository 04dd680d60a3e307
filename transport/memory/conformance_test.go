package memory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/transporttest"
	"github.com/trunkline/trunkline/transport/memory"
)

// Not parallel: some scenarios count goroutines.
func TestConformance(t *testing.T) { transporttest.Run(t, harness()) }

// The tests of transport/kafka run the first few of the same programs.
func TestRandomPrograms(t *testing.T) {
	t.Parallel()
	transporttest.RunPrograms(t, harness(), 100)
}

func harness() transporttest.Harness {
	of := func(tr driver.Transport) *memory.Transport { return tr.(*memory.Transport) }
	return transporttest.Harness{
		Timeout: 10 * time.Second,
		New: func(t *testing.T) transporttest.Connect {
			// Longer than the timeout of the suite, so that a claim that is never released
			// fails its scenario.
			log, err := memory.NewLog(memory.WithRevokeTimeout(time.Minute))
			require.NoError(t, err)
			return func(t *testing.T) driver.Transport {
				tr, err := memory.New(memory.WithLog(log))
				require.NoError(t, err)
				return tr
			}
		},
		Crash: func(_ *testing.T, tr driver.Transport) { of(tr).Crash() },
		Disconnect: func(_ *testing.T, tr driver.Transport) func() {
			of(tr).Disconnect(nil)
			return of(tr).Connect
		},
		AddPartitions: func(t *testing.T, tr driver.Transport, topic string, n int32) {
			require.NoError(t, of(tr).Log().AddPartitions(topic, n))
		},
	}
}
