package consumer_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/transport/gochannel"
)

// Where the transport does not deliver again, a consumer handles what was fetched before it
// stops.
func TestStopHandlesWhatWouldBeLost(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"one at a time", "in batches"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, err := gochannel.New()
			require.NoError(t, err)
			b, err := bus.New(tr)
			require.NoError(t, err)
			defer b.Close()
			var j journal
			begun, release := make(chan struct{}, 30), make(chan struct{})
			var c *consumer.Consumer
			if name == "one at a time" {
				c, err = consumer.New(b, "t", func(ctx context.Context, d *bus.Delivery) error {
					begun <- struct{}{}
					<-release
					return j.handle(ctx, d)
				})
			} else {
				c, err = consumer.NewBatch(b, "t", func(ctx context.Context, ds []*bus.Delivery) error {
					begun <- struct{}{}
					<-release
					return j.handleBatch(ctx, ds)
				}, bus.BatchSize(3), bus.BatchAge(time.Millisecond))
			}
			require.NoError(t, err)
			consuming(t, c)
			publish := func(n int) {
				require.NoError(t, b.Publish("t", message.NewMessage("id", []byte(strconv.Itoa(n)))))
			}
			publish(0)
			receive(t, begun) // the next messages stay in the buffer
			for n := range 20 {
				publish(1 + n)
			}
			require.NoError(t, c.Stop())
			close(release)
			stop(t, c)
			require.Equal(t, sequence(0, 21), j.all())
			require.NoError(t, c.Shutdown(t.Context()))
		})
	}
}

func TestNewRejectsWhatTheTransportDoesNotSupport(t *testing.T) {
	t.Parallel()
	tr, err := gochannel.New()
	require.NoError(t, err)
	b, err := bus.New(tr)
	require.NoError(t, err)
	defer b.Close()
	_, err = consumer.New(b, "t", nop, bus.Group("g"))
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
	_, err = consumer.NewBatch(b, "t", new(journal).handleBatch, bus.FromOldest())
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
	_, err = consumer.New(b, "t", nop, consumer.WithRetryTopics(time.Second))
	require.Error(t, err, "retry topics need a group")
	_, err = consumer.New(b, "t", nop, bus.AtMostOnce())
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "AtMostOnce acknowledges before the consumer could hold a message back")
}
