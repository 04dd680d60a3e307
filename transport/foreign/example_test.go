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

// A bus on watermill's own Go channels.
func Example() {
	pubsub := watermill.NewGoChannel(watermill.Config{BlockPublishUntilSubscriberAck: true}, nil)
	t, err := foreign.New(pubsub, pubsub, foreign.WithName("watermill"), foreign.WithOrdered())
	check(err)
	b, err := bus.New(t)
	check(err)
	ctx := context.Background()
	sub, err := b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Println(string(d.Key), string(d.Payload))
		return nil
	})
	check(err)
	check(sub.Ready(ctx))
	for _, order := range []string{"tea", "milk"} {
		m := message.NewMessage(order, []byte(order))
		bus.SetKey(m, "table-7")
		check(b.Publish("orders", m))
	}
	check(b.Close()) // closes pubsub
	// Output:
	// table-7 tea
	// table-7 milk
}

// A bus rejects options that need a guarantee which no option of the transport declares.
func ExampleWithOrdered() {
	pubsub := watermill.NewGoChannel(watermill.Config{}, nil)
	for _, opts := range [][]foreign.Option{{foreign.WithKeepOpen()}, {foreign.WithOrdered()}} {
		t, err := foreign.New(pubsub, pubsub, opts...)
		check(err)
		b, err := bus.New(t)
		check(err)
		_, err = b.Consume(context.Background(), "orders", func(context.Context, *bus.Delivery) error { return nil }, bus.OrderByKey())
		fmt.Println("ordered:", t.Capabilities().Ordered, "accepted:", err == nil)
		check(b.Close())
	}
	// Output:
	// ordered: false accepted: false
	// ordered: true accepted: true
}

// The transport makes a subscriber for each subscription with a group.
func ExampleWithGroupSubscriber() {
	pubsub := watermill.NewGoChannel(watermill.Config{}, nil)
	t, err := foreign.New(pubsub, pubsub, foreign.WithGroupSubscriber(func(group string) (message.Subscriber, error) {
		fmt.Println("new member of", group) // for example kafka.NewSubscriber with this ConsumerGroup
		return member{pubsub}, nil
	}))
	check(err)
	b, err := bus.New(t)
	check(err)
	ctx := context.Background()
	handled := make(chan struct{})
	sub, err := b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Println(string(d.Payload))
		close(handled)
		return nil
	}, bus.Group("kitchen"))
	check(err)
	check(sub.Ready(ctx))
	check(b.Publish("orders", message.NewMessage("1", []byte("two teas"))))
	<-handled
	check(b.Close())
	// Output:
	// new member of kitchen
	// two teas
}

// member leaves pubsub open when its subscription ends.
type member struct{ message.Subscriber }

func (member) Close() error { return nil }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
