package foreign_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill/message"
	watermill "github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/foreign"
)

func Example() {
	pubsub := watermill.NewGoChannel(watermill.Config{BlockPublishUntilSubscriberAck: true}, nil)
	t, err := foreign.New(pubsub, pubsub, foreign.WithName("watermill"), foreign.WithOrdered())
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(t)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ctx := context.Background()
	sub, err := b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Println(string(d.Key), string(d.Payload))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := sub.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	for _, order := range []string{"tea", "milk"} {
		m := message.NewMessage(order, []byte(order))
		bus.SetKey(m, "table-7")
		if err := b.Publish("orders", m); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// table-7 tea
	// table-7 milk
}
