package memory_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/memory"
)

func Example() {
	ctx := context.Background()
	t, err := memory.New()
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(t)
	if err != nil {
		log.Fatal(err)
	}
	if err := b.CreateTopic(ctx, bus.TopicSpec{Name: "orders"}); err != nil {
		log.Fatal(err)
	}
	if err := b.Publish("orders", message.NewMessage("1", message.Payload("two teas"))); err != nil {
		log.Fatal(err)
	}
	done := make(chan struct{})
	_, err = b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("%s at offset %d\n", d.Payload, d.Record.Offset)
		close(done)
		return nil
	}, bus.Group("kitchen"))
	if err != nil {
		log.Fatal(err)
	}
	<-done
	if err := b.Close(); err != nil {
		log.Fatal(err)
	}
	next, _, _ := t.Log().Committed("kitchen", "orders", 0)
	fmt.Println("committed", next)
	// Output:
	// two teas at offset 0
	// committed 1
}

// Two services on one broker: the same log, a transport each. When one is gone
// without a word, the other gets what it had not acknowledged.
func ExampleTransport_Crash() {
	ctx := context.Background()
	broker, err := memory.NewLog()
	if err != nil {
		log.Fatal(err)
	}
	open := func() (*memory.Transport, *bus.Bus) {
		t, err := memory.New(memory.WithLog(broker))
		if err != nil {
			log.Fatal(err)
		}
		b, err := bus.New(t, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}))
		if err != nil {
			log.Fatal(err)
		}
		return t, b
	}
	t, first := open()
	_, second := open()
	if err := second.Publish("orders", message.NewMessage("1", message.Payload("two teas"))); err != nil {
		log.Fatal(err)
	}
	begun, done := make(chan struct{}), make(chan struct{})
	_, err = first.Consume(ctx, "orders", func(ctx context.Context, _ *bus.Delivery) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}, bus.Group("kitchen"))
	if err != nil {
		log.Fatal(err)
	}
	<-begun
	t.Crash()
	_, err = second.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("the other got %s\n", d.Payload)
		close(done)
		return nil
	}, bus.Group("kitchen"))
	if err != nil {
		log.Fatal(err)
	}
	<-done
	_ = first.Close() // its subscription ended with the crash
	if err := second.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: the other got two teas
}
