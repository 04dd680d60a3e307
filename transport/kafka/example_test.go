package kafka_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/transport/kafka"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := kafkatest.Start(ctx, kafkatest.WithTopics(4, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()

	t, err := kafka.New(broker.Addrs(), kafka.WithClientID("orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(t, bus.WithSubscribeDefaults(bus.Group("orders")))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	m := message.NewMessage("1", []byte("two apples"))
	bus.SetKey(m, "ada")
	if err := b.Publish("orders", m); err != nil {
		fmt.Println(err)
		return
	}
	handled := make(chan struct{})
	_, err = b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("%s wants %s\n", d.Record.Key, d.Payload)
		close(handled)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-handled
	// Output: ada wants two apples
}
