package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/transport/memory"
)

// shop is a bus in memory with orders on it.
func shop(orders ...string) *bus.Bus {
	transport, err := memory.New()
	if err != nil {
		panic(err)
	}
	b, err := bus.New(transport, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}))
	if err != nil {
		panic(err)
	}
	for _, o := range orders {
		if err := b.Publish("orders", message.NewMessage(o, []byte(o))); err != nil {
			panic(err)
		}
	}
	return b
}

// What can't be handled goes to a dead-letter topic after three attempts.
func ExampleNew() {
	b := shop("tea", "plutonium", "milk")
	defer b.Close()
	done := make(chan struct{})
	handle := func(_ context.Context, d *bus.Delivery) error {
		order := string(d.Payload)
		fmt.Println(order, "attempt", d.Attempt)
		if order == "plutonium" {
			return errors.New("not in stock")
		}
		if order == "milk" {
			close(done)
		}
		return nil
	}
	c, err := consumer.New(b, "orders", handle,
		consumer.Subscribe(bus.Group("shop")),
		consumer.WithRetry(consumer.Retry{Attempts: 3, Min: time.Millisecond, Max: time.Second}),
		consumer.WithDeadLetterTopic("orders.dead"))
	if err != nil {
		panic(err)
	}
	if err := c.Start(); err != nil {
		panic(err)
	}
	<-done
	if err := c.Close(context.Background()); err != nil {
		panic(err)
	}
	s := c.Stats()
	fmt.Println(c.State(), "handled", s.Handled, "failed", s.Failed, "dead-lettered", s.DeadLettered)
	// Output:
	// tea attempt 1
	// plutonium attempt 1
	// plutonium attempt 2
	// plutonium attempt 3
	// milk attempt 1
	// closed handled 2 failed 3 dead-lettered 1
}

// A batch is handed over when it is full, or old; here, when the consumer is closed.
func ExampleNewBatch() {
	b := shop("tea", "milk", "sugar", "bread", "jam")
	defer b.Close()
	full := make(chan struct{})
	handle := func(_ context.Context, ds []*bus.Delivery) error {
		var failed bus.BatchError
		for i, d := range ds {
			if len(d.Payload) == 0 {
				failed.Add(i, bus.Drop(errors.New("an empty order")))
			}
		}
		fmt.Println(len(ds), "orders, from", string(ds[0].Payload))
		if len(ds) == 3 {
			close(full)
		}
		return failed.Err() // nil when none was added
	}
	c, err := consumer.NewBatch(b, "orders", handle, consumer.Subscribe(bus.Group("shop")), consumer.WithBatch(3, 50*time.Millisecond))
	if err != nil {
		panic(err)
	}
	if err := c.Start(); err != nil {
		panic(err)
	}
	<-full
	for c.Stats().Handled < 5 { // the rest, by age
		time.Sleep(time.Millisecond)
	}
	if err := c.Close(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// 3 orders, from tea
	// 2 orders, from bread
}

// The life of a consumer, as seen by one who watches it.
func ExampleConsumer_Watch() {
	b := shop()
	defer b.Close()
	if err := b.EnsureTopic(context.Background(), bus.TopicSpec{Name: "orders"}); err != nil {
		panic(err)
	}
	c, err := consumer.New(b, "orders", func(context.Context, *bus.Delivery) error { return nil })
	if err != nil {
		panic(err)
	}
	if err := c.Start(); err != nil {
		panic(err)
	}
	for change := range c.Watch(context.Background()) {
		if change.State == consumer.Consuming {
			fmt.Println("consuming")
			if err := c.Close(context.Background()); err != nil {
				panic(err)
			}
		}
		if change.State == consumer.Closed {
			fmt.Println("closed")
		}
	}
	// Output:
	// consuming
	// closed
}

// It consumes only while the database is there, and tells /readyz how it is itself.
func ExampleWhileReady() {
	reg := probe.New()
	reg.Register("database")
	b := shop("tea")
	defer b.Close()
	handled := make(chan string)
	c, err := consumer.New(b, "orders", func(_ context.Context, d *bus.Delivery) error {
		handled <- string(d.Payload)
		return nil
	}, consumer.Subscribe(bus.Group("shop")), consumer.WhileReady(reg, "database"), consumer.WithProbe(reg, "orders"))
	if err != nil {
		panic(err)
	}
	if err := c.Start(); err != nil {
		panic(err)
	}
	if _, err := c.Wait(context.Background(), consumer.Consuming); err != nil {
		panic(err)
	}
	fmt.Println("paused:", c.Paused())
	reg.Update("database", probe.Running, nil)
	fmt.Println(<-handled)
	if err := reg.WaitReady(context.Background()); err != nil {
		panic(err)
	}
	service, _ := reg.Snapshot().Service("orders")
	fmt.Println(service.Status, reg.Ready())
	if err := c.Close(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// paused: true
	// tea
	// Running true
}

// A handler of watermill's Router, with its middleware.
func ExampleWatermillPublisher() {
	b := shop("tea")
	defer b.Close()
	invoice := func(m *message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage("invoice", append([]byte("invoice for "), m.Payload...))}, nil
	}
	loud := func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			fmt.Println("handling", m.UUID)
			return h(m)
		}
	}
	c, err := consumer.New(b, "orders", consumer.WatermillPublisher(b, "invoices", invoice, loud), consumer.Subscribe(bus.Group("shop")))
	if err != nil {
		panic(err)
	}
	if err := c.Start(); err != nil {
		panic(err)
	}
	got := make(chan string)
	if _, err := b.Consume(context.Background(), "invoices", func(_ context.Context, d *bus.Delivery) error {
		got <- string(d.Payload)
		return nil
	}, bus.FromOldest()); err != nil {
		panic(err)
	}
	fmt.Println(<-got)
	if err := c.Close(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// handling tea
	// invoice for tea
}
