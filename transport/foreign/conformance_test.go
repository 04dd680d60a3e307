package foreign_test

import (
	"testing"

	watermill "github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/transporttest"
	"github.com/trunkline/trunkline/transport/foreign"
)

// harness runs on watermill's own gochannel. All transports of a scenario share one,
// which knows subscribers of its own instance only.
func harness(c watermill.Config, opts ...foreign.Option) transporttest.Harness {
	return transporttest.Harness{
		NoTimestamps: true,
		AckToPublish: c.BlockPublishUntilSubscriberAck,
		Unbounded:    !c.BlockPublishUntilSubscriberAck, // two goroutines for each message
		New: func(t *testing.T) transporttest.Connect {
			pubsub := watermill.NewGoChannel(c, nil)
			t.Cleanup(func() { require.NoError(t, pubsub.Close()) })
			return func(t *testing.T) driver.Transport {
				return open(t, pubsub, pubsub, append(opts, foreign.KeepOpen(), foreign.Named("watermill"))...)
			}
		},
	}
}

// Not parallel: some scenarios count goroutines.
func TestConformanceOrdered(t *testing.T) {
	transporttest.Run(t, harness(watermill.Config{BlockPublishUntilSubscriberAck: true}, foreign.Ordered()))
}

func TestConformanceUnordered(t *testing.T) {
	transporttest.Run(t, harness(watermill.Config{OutputChannelBuffer: 10_000}))
}

// It subscribes before it publishes, because nothing says that a log is kept.
func TestWatermillSuite(t *testing.T) {
	transporttest.RunWatermill(t, harness(watermill.Config{OutputChannelBuffer: 10_000}))
}
