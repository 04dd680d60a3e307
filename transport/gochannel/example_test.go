package gochannel_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/gochannel"
)

func Example() {
	t, err := gochannel.New(gochannel.WithBuffer(16))
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(t)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	handled := make(chan struct{}, 2)
	_, err = b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Println(d.Record.Offset, string(d.Payload))
		handled <- struct{}{}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, order := range []string{"tea", "milk"} {
		if err := b.Publish("orders", message.NewMessage(order, []byte(order))); err != nil {
			log.Fatal(err)
		}
	}
	// A drain waits for handlers that run, not for messages that are still buffered.
	<-handled
	<-handled
	if err := b.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 0 tea
	// 1 milk
}
