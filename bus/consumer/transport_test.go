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

// On Go channels nobody else would get what was fetched when the consumer stops: it is
// handled, one by one or in batches.
func TestStoppingWhereNothingIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"one by one", "in batches"} {
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
			if name == "one by one" {
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
				}, consumer.WithBatch(3, time.Millisecond))
			}
			require.NoError(t, err)
			consuming(t, c)
			publish := func(n int) {
				require.NoError(t, b.Publish("t", message.NewMessage("id", []byte(strconv.Itoa(n)))))
			}
			publish(0)
			<-begun // what follows stays in the buffer
			for n := range 20 {
				publish(1 + n)
			}
			require.NoError(t, c.Stop())
			close(release)
			stop(t, c)
			require.Equal(t, sequence(0, 21), j.all())
			require.NoError(t, c.Close(t.Context()))
		})
	}
}

// What a transport lacks is refused when the consumer is made.
func TestWhatATransportLacks(t *testing.T) {
	t.Parallel()
	tr, err := gochannel.New()
	require.NoError(t, err)
	b, err := bus.New(tr)
	require.NoError(t, err)
	defer b.Close()
	_, err = consumer.New(b, "t", nop, consumer.Subscribe(bus.Group("g")))
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
	_, err = consumer.NewBatch(b, "t", new(journal).handleBatch, consumer.Subscribe(bus.FromOldest()))
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
	_, err = consumer.New(b, "t", nop, consumer.WithRetryTopics(time.Second))
	require.Error(t, err, "retry topics are a group's, and there are none")
	_, err = consumer.New(b, "t", nop, consumer.Subscribe(bus.AtMostOnce()))
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), "what is acknowledged first can't be held back")
}
