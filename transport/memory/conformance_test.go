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

// The programs that Kafka runs a few of.
func TestRandomProgramsOverABus(t *testing.T) {
	t.Parallel()
	transporttest.RunPrograms(t, harness(), 100)
}

func harness() transporttest.Harness {
	of := func(tr driver.Transport) *memory.Transport { return tr.(*memory.Transport) }
	return transporttest.Harness{
		New: func(t *testing.T) transporttest.Connect {
			// Above the suite's patience: nobody is to need it.
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
