package kafka_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/testing/transporttest"
	"github.com/trunkline/trunkline/transport/kafka"
)

// Not parallel: some scenarios count goroutines.
func TestConformance(t *testing.T) {
	var nets sync.Map // of the transports' dialers
	transporttest.Run(t, transporttest.Harness{
		Patience: patience,
		// To the broker, a process that has died is one that says nothing any more.
		Crash: func(t *testing.T, tr driver.Transport) {
			d, ok := nets.Load(tr)
			require.True(t, ok)
			d.(*kafkatest.Dialer).Cut()
		},
		New: func(t *testing.T) transporttest.Connect {
			broker := kafkatb.New(t)
			return func(t *testing.T) driver.Transport {
				d := &kafkatest.Dialer{}
				k, err := kafka.New(broker.Addrs(), kafka.WithDialer(d.DialContext),
					kafka.WithTimeouts(kafka.Timeouts{Session: 6 * time.Second}))
				require.NoError(t, err)
				nets.Store(driver.Transport(k), d)
				return k
			}
		},
	})
}
