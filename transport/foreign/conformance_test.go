package foreign_test

import (
	"testing"

	watermill "github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/transporttest"
	"github.com/trunkline/trunkline/transport/foreign"
)

// harness uses watermill's gochannel. All transports of a scenario share one instance, because
// an instance delivers only to its own subscribers.
func harness(c watermill.Config, opts ...foreign.Option) transporttest.Harness {
	return transporttest.Harness{
		NoTimestamps:       true,
		PublishWaitsForAck: c.BlockPublishUntilSubscriberAck,
		Unbounded:          !c.BlockPublishUntilSubscriberAck, // it starts two goroutines for each message
		New: func(t *testing.T) transporttest.Connect {
			pubsub := watermill.NewGoChannel(c, nil)
			t.Cleanup(func() { require.NoError(t, pubsub.Close()) })
			return func(t *testing.T) driver.Transport {
				return open(t, pubsub, pubsub, append(opts, foreign.WithKeepOpen(), foreign.WithName("watermill"))...)
			}
		},
	}
}

// Not parallel: some scenarios count goroutines.
func TestConformanceOrdered(t *testing.T) {
	transporttest.Run(t, harness(watermill.Config{BlockPublishUntilSubscriberAck: true}, foreign.WithOrdered()))
}

func TestConformanceUnordered(t *testing.T) {
	transporttest.Run(t, harness(watermill.Config{OutputChannelBuffer: 10_000}))
}

// The capabilities have no replay, so the suite subscribes before it publishes.
func TestWatermillSuite(t *testing.T) {
	transporttest.RunWatermill(t, harness(watermill.Config{OutputChannelBuffer: 10_000}))
}
