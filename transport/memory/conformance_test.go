package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/transporttest"
	"github.com/trunkline/trunkline/transport/memory"
)

// Not parallel: some scenarios count goroutines.
func TestConformance(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{
		New: func(t *testing.T) transporttest.Connect {
			log, err := memory.NewLog()
			require.NoError(t, err)
			return func(t *testing.T) driver.Transport {
				tr, err := memory.New(memory.WithLog(log))
				require.NoError(t, err)
				return tr
			}
		},
		Crash: func(_ *testing.T, tr driver.Transport) { tr.(*memory.Transport).Crash() },
	})
}
