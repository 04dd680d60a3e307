package bus_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	_ "github.com/trunkline/trunkline/transport/memory" // for memory://
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		log.Fatal(err)
	}
	if err := b.EnsureTopic(ctx, bus.TopicSpec{Name: "orders", Partitions: 4}); err != nil {
		log.Fatal(err)
	}

	handled := make(chan string, 2)
	sub, err := b.Consume(ctx, "orders", func(ctx context.Context, d *bus.Delivery) error {
		handled <- fmt.Sprintf("%s of %s", d.Payload, d.Record.Key)
		return nil // acknowledged
	}, bus.Group("billing"), bus.OrderByKey())
	if err != nil {
		log.Fatal(err)
	}

	created := message.NewMessage(watermill.NewUUID(), []byte("created"))
	bus.SetKey(created, "order-7")
	paid := message.NewMessage(watermill.NewUUID(), []byte("paid"))
	bus.SetKey(paid, "order-7")
	if err := b.Publish("orders", created, paid); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-handled)
	fmt.Println(<-handled)

	if err := sub.Shutdown(ctx); err != nil { // drains
		log.Fatal(err)
	}
	if err := b.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// created of order-7
	// paid of order-7
}

func ExampleBus_Publish() {
	b, err := bus.Open(context.Background(), "memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	err = b.Publish("nowhere", message.NewMessage(watermill.NewUUID(), nil))
	fmt.Println(bus.CodeOf(err))
	// Output: not_found
}

func ExampleBus_Subscribe() {
	ctx := context.Background()
	b, err := bus.Open(ctx, "memory://?create=true&start=oldest")
	if err != nil {
		log.Fatal(err)
	}
	if err := b.Publish("greetings", message.NewMessage("1", []byte("hello"))); err != nil {
		log.Fatal(err)
	}
	messages, err := b.Subscribe(ctx, "greetings") // the method of watermill's Subscriber
	if err != nil {
		log.Fatal(err)
	}
	m := <-messages
	fmt.Printf("%s\n", m.Payload)
	m.Ack()
	if err := b.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: hello
}

func ExampleCodeOf() {
	b, err := bus.Open(context.Background(), "memory://")
	if err != nil {
		log.Fatal(err)
	}
	_ = b.Close()
	err = b.Publish("orders", message.NewMessage("1", nil))
	switch bus.CodeOf(err) {
	case bus.CodeClosed:
		fmt.Println("the bus is closed")
	case bus.CodeOutcomeUnknown:
		fmt.Println("it may or may not be in the log")
	}
	// Output: the bus is closed
}
