package gochannel_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/gochannel"
)

// A message goes to the subscriptions that exist when it is published.
func Example() {
	t, err := gochannel.New()
	check(err)
	b, err := bus.New(t)
	check(err)
	ctx := context.Background()
	check(b.Publish("orders", message.NewMessage("0", []byte("published before a subscription exists"))))
	handled := make(chan struct{})
	_, err = b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Println(d.Offset, string(d.Payload))
		handled <- struct{}{}
		return nil
	})
	check(err)
	for _, order := range []string{"tea", "milk"} {
		check(b.Publish("orders", message.NewMessage(order, []byte(order))))
		<-handled
	}
	// Close waits for running handlers, not for messages that are still buffered.
	check(b.Close())
	// Output:
	// 0 tea
	// 1 milk
}

// When the buffer of a subscription is full, Publish waits. If the context of the message ends
// first, the message reaches no subscription.
func ExampleWithBuffer() {
	t, err := gochannel.New(gochannel.WithBuffer(16))
	check(err)
	b, err := bus.New(t)
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	sub, err := b.Consume(ctx, "orders", func(ctx context.Context, _ *bus.Delivery) error {
		<-ctx.Done() // the handler is blocked
		return ctx.Err()
	}, bus.Window(1))
	check(err)

	for {
		m := message.NewMessage("tea", []byte("tea"))
		soon, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		m.SetContext(soon)
		err := b.Publish("orders", m)
		stop()
		if err != nil {
			fmt.Println(bus.CodeOf(err))
			break
		}
	}
	cancel()
	<-sub.Done()
	check(b.Close())
	// Output: deadline_exceeded
}

// Buses that open the same name share their channels.
func Example_namedURL() {
	ctx := context.Background()
	shop, err := bus.Open(ctx, "chan://cafe")
	check(err)
	kitchen, err := bus.Open(ctx, "chan://cafe?buffer=16")
	check(err)
	orders, err := kitchen.Subscribe(ctx, "orders")
	check(err)
	check(shop.Publish("orders", message.NewMessage("1", []byte("two teas"))))
	m := <-orders
	fmt.Printf("%s\n", m.Payload)
	m.Ack()
	check(shop.Close())
	check(kitchen.Close())
	// Output: two teas
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
