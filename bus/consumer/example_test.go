package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/transport/memory"
)

// openShop returns a bus on the memory transport, with these orders in the topic "orders".
func openShop(orders ...string) *bus.Bus {
	transport, err := memory.New()
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(transport, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}))
	if err != nil {
		log.Fatal(err)
	}
	if err := b.EnsureTopic(context.Background(), bus.TopicSpec{Name: "orders", Partitions: 1}); err != nil {
		log.Fatal(err)
	}
	for _, o := range orders {
		m := message.NewMessage(o, []byte(o))
		bus.SetKey(m, o)
		if err := b.Publish("orders", m); err != nil {
			log.Fatal(err)
		}
	}
	return b
}

// Run consumes until its context ends. It can also be a part of a trunkline.App: app.Run(ctx, c.Run).
func Example() {
	b := openShop("tea", "milk")
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := consumer.New(b, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("%s at offset %d\n", d.Payload, d.Offset)
		if string(d.Payload) == "milk" {
			cancel() // a program waits for a signal
		}
		return nil
	}, bus.Group("shop"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Run(ctx))
	fmt.Println(c.State(), c.Stats().Handled)
	// Output:
	// tea at offset 0
	// milk at offset 1
	// <nil>
	// closed 2
}

// Four handlers run concurrently. Orders with the same key are handled in order.
func ExampleNew_concurrency() {
	b := openShop("tea", "milk", "sugar", "bread")
	defer b.Close()
	var running sync.WaitGroup
	running.Add(4)
	c, err := consumer.New(b, "orders", func(context.Context, *bus.Delivery) error {
		running.Done()
		running.Wait() // until four handlers are running
		return nil
	}, bus.Group("shop"), bus.OrderByKey(), bus.Concurrency(4))
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	running.Wait()
	if err := c.Close(); err != nil { // waits for the handlers
		log.Fatal(err)
	}
	fmt.Println("handled:", c.Stats().Handled)
	// Output: handled: 4
}

// A message is retried in place. Without success it goes to the dead-letter topic.
func ExampleWithAttempts() {
	b := openShop("tea", "plutonium", "milk")
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := consumer.New(b, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("%s, attempt %d\n", d.Payload, d.Attempt)
		switch string(d.Payload) {
		case "plutonium":
			return errors.New("not in stock")
		case "milk":
			cancel()
		}
		return nil
	}, bus.Group("shop"), consumer.WithAttempts(3), bus.Backoff(time.Millisecond, time.Second), bus.DeadLetterTopic("orders.dead"))
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		log.Fatal(err)
	}
	s := c.Stats()
	fmt.Println("handled:", s.Handled, "failed:", s.Failed, "dead-lettered:", s.DeadLettered)
	// Output:
	// tea, attempt 1
	// plutonium, attempt 1
	// plutonium, attempt 2
	// plutonium, attempt 3
	// milk, attempt 1
	// handled: 2 failed: 3 dead-lettered: 1
}

// A handler can send a message to the dead-letter topic without further attempts. The headers of
// a dead letter name the original and the cause.
func ExampleNew_deadLetter() {
	b := openShop("plutonium")
	defer b.Close()
	c, err := consumer.New(b, "orders", func(context.Context, *bus.Delivery) error {
		return bus.DeadLetter(errors.New("we do not sell that"))
	}, bus.Group("shop"), bus.DeadLetterTopic("orders.dead"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	dead, err := consumer.New(b, "orders.dead", func(_ context.Context, d *bus.Delivery) error {
		topic, _ := d.Header(deadletter.TopicHeader)
		offset, _ := d.Header(deadletter.OffsetHeader)
		cause, _ := d.Header(deadletter.CauseHeader)
		fmt.Printf("%s from %s, offset %s: %s\n", d.Payload, topic, offset, cause)
		cancel()
		return nil
	}, bus.Group("support"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(dead.Run(ctx))
	// Output:
	// plutonium from orders, offset 0: we do not sell that
	// <nil>
}

// A message that fails waits in a retry topic, and later messages are handled before it.
func ExampleWithRetryTopics() {
	b := openShop("tea", "milk")
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := consumer.New(b, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("%s from %s, attempt %d\n", d.Payload, d.Topic, consumer.Attempts(d))
		if string(d.Payload) != "tea" {
			return nil
		}
		if d.Topic == "orders" {
			return errors.New("the kettle is cold")
		}
		cancel()
		return nil
	}, bus.Group("shop"), consumer.WithRetryTopics(100*time.Millisecond, time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// tea from orders, attempt 1
	// milk from orders, attempt 1
	// tea from orders.retry.1, attempt 2
}

// A batch is handled when it is full, or when it is old enough. A BatchError names the messages
// that failed.
func ExampleNewBatch() {
	b := openShop("tea", "milk", "sugar", "bread", "jam")
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := consumer.NewBatch(b, "orders", func(_ context.Context, ds []*bus.Delivery) error {
		var failed bus.BatchError
		for i, d := range ds {
			if string(d.Payload) == "sugar" {
				failed.Add(i, bus.Drop(errors.New("not in stock")))
			}
		}
		fmt.Printf("%d orders from %s on\n", len(ds), ds[0].Payload)
		if len(ds) == 2 {
			cancel()
		}
		return failed.Err() // nil if none was added
	}, bus.Group("shop"), bus.BatchSize(3), bus.BatchAge(50*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		log.Fatal(err)
	}
	s := c.Stats()
	fmt.Println("handled:", s.Handled, "dropped:", s.Dropped)
	// Output:
	// 3 orders from tea on
	// 2 orders from bread on
	// handled: 4 dropped: 1
}

// Watch reports the changes of the state.
func ExampleConsumer_Watch() {
	b := openShop()
	defer b.Close()
	c, err := consumer.New(b, "orders", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("shop"))
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	for change := range c.Watch(context.Background()) {
		switch change.State {
		case consumer.Consuming:
			fmt.Println(change.State)
			if err := c.Close(); err != nil {
				log.Fatal(err)
			}
		case consumer.Closed:
			fmt.Println(change.State)
		}
	}
	// Output:
	// consuming
	// closed
}

// A paused consumer stays in its group and calls no handlers.
func ExampleConsumer_Pause() {
	b := openShop("tea")
	defer b.Close()
	handled := make(chan string)
	c, err := consumer.New(b, "orders", func(_ context.Context, d *bus.Delivery) error {
		handled <- string(d.Payload)
		return nil
	}, bus.Group("shop"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	c.Pause()
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	if _, err := c.Wait(context.Background(), consumer.Consuming); err != nil {
		log.Fatal(err)
	}
	select {
	case order := <-handled:
		fmt.Println("handled while paused:", order)
	case <-time.After(20 * time.Millisecond):
		fmt.Println(c.State(), "and paused:", c.Paused())
	}
	c.Resume()
	fmt.Println(<-handled)
	// Output:
	// consuming and paused: true
	// tea
}

// Two orders are handled at once, and then one every 20 milliseconds.
func ExampleWithRate() {
	b := openShop("tea", "milk", "sugar", "bread")
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	begun := time.Now()
	c, err := consumer.New(b, "orders", func(_ context.Context, d *bus.Delivery) error {
		if string(d.Payload) == "bread" {
			cancel()
		}
		return nil
	}, bus.Group("shop"), consumer.WithRate(50, 2))
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Stats().Handled, time.Since(begun) > 39*time.Millisecond)
	// Output: 4 true
}

// The consumer is paused while the database is not ready, and is itself a service for /readyz.
func ExampleWithProbe() {
	registry := probe.New()
	registry.Register("database")
	b := openShop("tea")
	defer b.Close()
	handled := make(chan string)
	c, err := consumer.New(b, "orders", func(_ context.Context, d *bus.Delivery) error {
		handled <- string(d.Payload)
		return nil
	}, bus.Group("shop"), consumer.WithProbe(registry, "orders"), consumer.WithPauseUnlessReady(registry, "database"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	if _, err := c.Wait(context.Background(), consumer.Consuming); err != nil {
		log.Fatal(err)
	}
	fmt.Println("paused:", c.Paused())
	registry.Update("database", probe.Running, nil)
	fmt.Println(<-handled)
	if err := registry.WaitReady(context.Background()); err != nil {
		log.Fatal(err)
	}
	service, _ := registry.Snapshot().Service("orders")
	fmt.Println(service.Status)
	// Output:
	// paused: true
	// tea
	// Running
}

// A handler and middleware of watermill's Router. The invoice is published before the order is
// acknowledged.
func ExampleWatermillPublisher() {
	b := openShop("tea")
	defer b.Close()
	invoice := func(m *message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage("invoice", append([]byte("invoice for "), m.Payload...))}, nil
	}
	logging := func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			fmt.Println("handling", m.UUID)
			return h(m)
		}
	}
	c, err := consumer.New(b, "orders", consumer.WatermillPublisher(b, "invoices", invoice, logging), bus.Group("shop"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	invoices := make(chan string)
	if _, err := b.Consume(context.Background(), "invoices", func(_ context.Context, d *bus.Delivery) error {
		invoices <- string(d.Payload)
		return nil
	}, bus.FromOldest()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-invoices)
	// Output:
	// handling tea
	// invoice for tea
}
