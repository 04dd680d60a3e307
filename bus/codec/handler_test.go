package codec_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	_ "github.com/trunkline/trunkline/transport/memory" // for memory://
)

func TestHandler(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://?create=true")
	require.NoError(t, err)
	defer b.Close()

	handled, dead := make(chan string, 4), make(chan *bus.Delivery, 4)
	_, err = b.Consume(ctx, "dead", func(_ context.Context, d *bus.Delivery) error { dead <- d; return nil }, bus.StartAt(bus.Oldest()))
	require.NoError(t, err)
	refused := false
	_, err = b.Consume(ctx, "orders", codec.Handler(codec.JSON, func(_ context.Context, o order, d *bus.Delivery) error {
		if o.ID == "refused" && !refused {
			refused = true
			return bus.Retry(0, errors.New("once more"))
		}
		handled <- fmt.Sprintf("%s for %s, attempt %d", o.ID, bus.Key(d.Message), d.Attempt)
		return nil
	}), bus.Group("g"), bus.DeadLetterTopic("dead"))
	require.NoError(t, err)

	publish := func(m *message.Message, err error) {
		require.NoError(t, err)
		bus.SetKey(m, "ada")
		require.NoError(t, b.Publish("orders", m))
	}
	publish(codec.Encode(codec.JSON, order{"first"}))
	publish(message.NewMessage("u", []byte("{")), nil)
	publish(codec.Encode(codec.Raw, []byte("{}")))
	publish(codec.Encode(codec.JSON, order{"refused"}))
	require.Equal(t, "first for ada, attempt 1", <-handled)
	require.Equal(t, "refused for ada, attempt 2", <-handled, "what the handler returns counts")
	for _, says := range []string{"the payload is no codec_test.order in application/json", `"application/octet-stream", this reader takes "application/json"`} {
		d := <-dead
		require.Contains(t, d.Metadata.Get(bus.DeadLetterCauseHeader), says)
		require.Equal(t, "undecodable", d.Metadata.Get(bus.DeadLetterCodeHeader))
		require.Equal(t, "ada", bus.Key(d.Message))
	}

	_, err = b.Consume(ctx, "orders", codec.Handler[order](nil, nil))
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
}

func ExampleHandler() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://?create=true")
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	type Order struct{ ID, Customer string }
	done := make(chan struct{})
	_, err = b.Consume(ctx, "orders", codec.Handler(codec.JSON, func(ctx context.Context, o Order, d *bus.Delivery) error {
		fmt.Println(o.ID, "of", o.Customer, "at offset", d.Record.Offset)
		close(done)
		return nil
	}), bus.Group("billing"), bus.DeadLetterTopic("orders.dead"))
	if err != nil {
		log.Fatal(err)
	}
	m, err := codec.Encode(codec.JSON, Order{"o-1", "ada"})
	if err != nil {
		log.Fatal(err)
	}
	if err := b.Publish("orders", m); err != nil {
		log.Fatal(err)
	}
	<-done
	// Output: o-1 of ada at offset 0
}
