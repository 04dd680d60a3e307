package memory_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/memory"
)

// A log keeps messages until a subscription reads them, and records the committed offsets of
// groups.
func Example() {
	ctx := context.Background()
	t, err := memory.New()
	check(err)
	b, err := bus.New(t)
	check(err)
	check(b.CreateTopic(ctx, bus.TopicSpec{Name: "orders"}))
	check(b.Publish("orders", message.NewMessage("1", []byte("two teas"))))

	handled := make(chan struct{})
	_, err = b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("%s at offset %d\n", d.Payload, d.Offset)
		close(handled)
		return nil
	}, bus.Group("kitchen"))
	check(err)
	<-handled
	check(b.Close()) // commits

	next, _, _ := t.Log().Committed("kitchen", "orders", 0)
	fmt.Println("committed", next)
	// Output:
	// two teas at offset 0
	// committed 1
}

// Services that use one log exchange messages, as clients of one broker do.
func ExampleWithLog() {
	broker, err := memory.NewLog()
	check(err)
	shop, kitchen := connect(broker), connect(broker)
	orders, err := kitchen.Subscribe(context.Background(), "orders")
	check(err)
	check(shop.Publish("orders", message.NewMessage("1", []byte("two teas"))))
	m := <-orders
	fmt.Printf("%s\n", m.Payload)
	m.Ack()
	check(shop.Close())
	check(kitchen.Close())
	// Output: two teas
}

// Each group receives every message once, however many members it has.
func Example_groups() {
	ctx := context.Background()
	broker, err := memory.NewLog(memory.WithPartitions(4))
	check(err)
	handled := make(chan string)
	var buses []*bus.Bus
	for _, group := range []string{"kitchen", "kitchen", "billing"} {
		b := connect(broker)
		buses = append(buses, b)
		sub, err := b.Consume(ctx, "orders", func(context.Context, *bus.Delivery) error {
			handled <- group
			return nil
		}, bus.Group(group))
		check(err)
		check(sub.Ready(ctx))
	}
	for i := range 10 {
		check(buses[0].Publish("orders", message.NewMessage(fmt.Sprint(i), []byte("tea"))))
	}
	count := map[string]int{}
	for range 20 {
		count[<-handled]++
	}
	fmt.Println("kitchen", count["kitchen"], "billing", count["billing"])
	for _, b := range buses {
		check(b.Close())
	}
	// Output: kitchen 10 billing 10
}

// A rebalance revokes a partition while its handler runs. The context of the handler ends, and
// the next owner of the partition receives the message again.
func ExampleLog_Rebalance() {
	ctx := context.Background()
	broker, err := memory.NewLog()
	check(err)
	b := connect(broker)
	running, handled := make(chan struct{}), make(chan struct{})
	first := true
	_, err = b.Consume(ctx, "orders", func(ctx context.Context, d *bus.Delivery) error {
		if !first {
			fmt.Printf("%s is delivered again\n", d.Payload)
			close(handled)
			return nil
		}
		first = false
		close(running)
		<-ctx.Done()
		fmt.Println("the partition was", bus.CodeOf(context.Cause(ctx)))
		return ctx.Err()
	}, bus.Group("kitchen"))
	check(err)
	check(b.Publish("orders", message.NewMessage("1", []byte("two teas"))))
	<-running
	check(broker.Rebalance("kitchen", "orders"))
	<-handled
	check(b.Close())
	// Output:
	// the partition was revoked
	// two teas is delivered again
}

// A full partition drops the oldest records that every connected subscriber has passed.
func Example_retention() {
	ctx := context.Background()
	broker, err := memory.NewLog(memory.WithMaxRecords(3))
	check(err)
	b := connect(broker)
	for _, order := range []string{"tea", "milk", "cake", "bread", "jam"} {
		check(b.Publish("orders", message.NewMessage(order, []byte(order))))
	}
	oldest, end, err := broker.Offsets("orders", 0)
	check(err)
	fmt.Println("offsets", oldest, "to", end)

	printed := make(chan struct{})
	_, err = b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Println(d.Offset, string(d.Payload))
		if d.Offset == end-1 {
			close(printed)
		}
		return nil
	}, bus.FromOldest())
	check(err)
	<-printed
	check(b.Close())
	// Output:
	// offsets 2 to 5
	// 2 cake
	// 3 bread
	// 4 jam
}

// A compacted topic keeps the latest record of each key.
func Example_compaction() {
	ctx := context.Background()
	t, err := memory.New()
	check(err)
	b, err := bus.New(t)
	check(err)
	check(b.CreateTopic(ctx, bus.TopicSpec{Name: "prices", Config: map[string]string{memory.ConfigCleanupPolicy: "compact"}}))
	for i, p := range []struct{ item, price string }{{"tea", "3"}, {"milk", "1"}, {"tea", "4"}, {"tea", "5"}} {
		m := message.NewMessage(fmt.Sprint(i), []byte(p.price))
		bus.SetKey(m, p.item)
		check(b.Publish("prices", m))
	}
	printed := make(chan struct{})
	_, err = b.Consume(ctx, "prices", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("%d: %s costs %s\n", d.Offset, d.Key, d.Payload)
		if d.Offset == 3 {
			close(printed)
		}
		return nil
	}, bus.FromOldest())
	check(err)
	<-printed
	check(b.Close())
	// Output:
	// 1: milk costs 1
	// 3: tea costs 5
}

// During an outage publishing returns Unavailable. Other transports of the log stay connected.
func ExampleTransport_Disconnect() {
	ctx := context.Background()
	t, err := memory.New()
	check(err)
	b, err := bus.New(t, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}))
	check(err)
	t.Disconnect(errors.New("cable unplugged"))
	fmt.Println(bus.CodeOf(b.Publish("orders", message.NewMessage("1", nil))))
	t.Connect()
	check(b.Ready(ctx))
	fmt.Println(b.Publish("orders", message.NewMessage("1", nil)))
	check(b.Close())
	// Output:
	// unavailable
	// <nil>
}

// After a crash another member of the group receives what was not committed.
func ExampleTransport_Crash() {
	ctx := context.Background()
	broker, err := memory.NewLog()
	check(err)
	t, err := memory.New(memory.WithLog(broker))
	check(err)
	first, err := bus.New(t, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}))
	check(err)
	second := connect(broker)
	check(second.Publish("orders", message.NewMessage("1", []byte("two teas"))))

	running, handled := make(chan struct{}), make(chan struct{})
	_, err = first.Consume(ctx, "orders", func(ctx context.Context, _ *bus.Delivery) error {
		close(running)
		<-ctx.Done()
		return ctx.Err()
	}, bus.Group("kitchen"))
	check(err)
	<-running
	t.Crash()

	_, err = second.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("the second member received %s\n", d.Payload)
		close(handled)
		return nil
	}, bus.Group("kitchen"))
	check(err)
	<-handled
	_ = first.Close() // its subscription ended with the crash
	check(second.Close())
	// Output: the second member received two teas
}

// connect returns a bus on the log. It creates topics on first use.
func connect(l *memory.Log) *bus.Bus {
	t, err := memory.New(memory.WithLog(l))
	check(err)
	b, err := bus.New(t, bus.WithCreateTopics(bus.TopicSpec{}))
	check(err)
	return b
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
