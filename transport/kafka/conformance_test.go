package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/testing/transporttest"
	"github.com/trunkline/trunkline/transport/kafka"
)

// Not parallel: some scenarios count goroutines.
func TestConformance(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{
		Patience: patience,
		New: func(t *testing.T) transporttest.Connect {
			broker := kafkatb.New(t)
			return func(t *testing.T) driver.Transport {
				k, err := kafka.New(broker.Addrs())
				require.NoError(t, err)
				return k
			}
		},
	})
}
