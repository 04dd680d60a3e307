package bustest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/testing/transporttest"
	"github.com/trunkline/trunkline/transport/memory"
)

// Without faults, a wrapped transport passes the conformance suite. This test does not run in parallel,
// because some scenarios count goroutines.
func TestFaultsWithoutRulesConforms(t *testing.T) {
	for name, rules := range map[string][]bustest.Rule{
		"no rules": nil,
		"rules that never apply": {
			bustest.OnPublish("", bustest.Probability(0), bustest.Fail(driver.CodeInternal)),
			bustest.OnFetch("", bustest.Probability(0), bustest.Delay(time.Hour)),
		},
	} {
		t.Run(name, func(t *testing.T) { transporttest.Run(t, harness(rules)) })
	}
}

func harness(rules []bustest.Rule) transporttest.Harness {
	return transporttest.Harness{
		New: func(t *testing.T) transporttest.Connect {
			log, err := memory.NewLog(memory.WithRevokeTimeout(time.Minute))
			require.NoError(t, err)
			return func(t *testing.T) driver.Transport {
				tr, err := memory.New(memory.WithLog(log))
				require.NoError(t, err)
				f, err := bustest.NewFaults(tr, 1, rules...)
				require.NoError(t, err)
				return f
			}
		},
		Crash: func(_ *testing.T, tr driver.Transport) { under(tr).Crash() },
		// This tests Disconnect of Faults, which must behave like that of the transport.
		Disconnect: func(_ *testing.T, tr driver.Transport) func() {
			tr.(*bustest.Faults).Disconnect(nil)
			return tr.(*bustest.Faults).Connect
		},
		AddPartitions: func(t *testing.T, tr driver.Transport, topic string, n int32) {
			require.NoError(t, under(tr).Log().AddPartitions(topic, n))
		},
	}
}

func under(tr driver.Transport) *memory.Transport {
	return tr.(*bustest.Faults).Unwrap().(*memory.Transport)
}
