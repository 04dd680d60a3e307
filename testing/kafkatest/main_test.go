package kafkatest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) {
	// sarama's metrics library keeps one goroutine for the whole process.
	leaktest.Main(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}
