package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/bus/hook"
)

// open returns a bus whose topics are created when they are first used. Subscriptions without
// a group begin at the oldest record.
func open(opts ...bus.Option) *bus.Bus {
	b, err := bus.Open(context.Background(), "memory://?create=true&start=oldest", opts...)
	if err != nil {
		log.Fatal(err)
	}
	return b
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// Several members of a group share the partitions of a topic. Order by key keeps the messages of
// a key in order and handles those of different keys concurrently.
func ExampleOrderByKey() {
	b := open()
	defer b.Close()
	for _, text := range []string{"a1", "b1", "a2", "a3"} {
		m := message.NewMessage(text, []byte(text))
		bus.SetKey(m, text[:1])
		must(0, b.Publish("steps", m))
	}
	handled := make(chan string, 4)
	must(b.Consume(context.Background(), "steps", func(_ context.Context, d *bus.Delivery) error {
		if string(d.Key) == "a" {
			handled <- string(d.Payload)
		}
		return nil
	}, bus.Group("workers"), bus.OrderByKey()))
	fmt.Println(<-handled, <-handled, <-handled)
	// Output: a1 a2 a3
}

// A handler that returns an error gets the message again, after a back-off.
func ExampleBackoff() {
	b := open()
	defer b.Close()
	must(0, b.Publish("orders", message.NewMessage("1", nil)))
	attempts := make(chan int, 3)
	must(b.Consume(context.Background(), "orders", func(_ context.Context, d *bus.Delivery) error {
		attempts <- d.Attempt
		if d.Attempt < 3 {
			return errors.New("the database is locked")
		}
		return nil
	}, bus.Group("billing"), bus.Backoff(time.Millisecond, time.Second)))
	fmt.Println(<-attempts, <-attempts, <-attempts)
	// Output: 1 2 3
}

// With RetryAfter a handler chooses the pause before the next attempt.
func ExampleRetryAfter() {
	b := open()
	defer b.Close()
	must(0, b.Publish("orders", message.NewMessage("1", nil)))
	attempts := make(chan int, 2)
	must(b.Consume(context.Background(), "orders", func(_ context.Context, d *bus.Delivery) error {
		attempts <- d.Attempt
		if d.Attempt == 1 {
			return bus.RetryAfter(time.Millisecond, errors.New("too many requests"))
		}
		return nil
	}, bus.Group("billing")))
	fmt.Println(<-attempts, <-attempts)
	// Output: 1 2
}

// A message that cannot be handled goes to a dead-letter topic, with its origin and the cause.
func ExampleDeadLetter() {
	ctx := context.Background()
	b := open()
	defer b.Close()
	must(b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		return bus.DeadLetter(errors.New("unknown currency"))
	}, bus.Group("billing"), bus.DeadLetterTopic("orders.dead")))
	must(0, b.Publish("orders", message.NewMessage("1", []byte("7 doubloons"))))

	letters := make(chan string, 1)
	must(b.Consume(ctx, "orders.dead", func(_ context.Context, d *bus.Delivery) error {
		topic, _ := d.Header(deadletter.TopicHeader)
		cause, _ := d.Header(deadletter.CauseHeader)
		letters <- fmt.Sprintf("%s from %s: %s", d.Payload, topic, cause)
		return nil
	}))
	fmt.Println(<-letters)
	// Output: 7 doubloons from orders: unknown currency
}

// Drop acknowledges a message without handling it; Stop ends the subscription.
func ExampleStop() {
	b := open()
	defer b.Close()
	must(0, b.Publish("orders", message.NewMessage("1", []byte("old")), message.NewMessage("2", []byte("last"))))
	sub := must(b.Consume(context.Background(), "orders", func(_ context.Context, d *bus.Delivery) error {
		if string(d.Payload) == "old" {
			return bus.Drop(errors.New("expired"))
		}
		return bus.Stop(errors.New("that was the last one"))
	}))
	<-sub.Done()
	fmt.Println(sub.Err())
	// Output: memory: consume "orders": the handler returned Stop: stop: that was the last one (canceled)
}

// A batch handler gets several messages of a partition at once. A BatchError names those that
// failed; the others are acknowledged.
func ExampleBatchError() {
	b := open()
	defer b.Close()
	must(0, b.Publish("orders", message.NewMessage("1", []byte("a")), message.NewMessage("2", []byte("bad")), message.NewMessage("3", []byte("c"))))
	batches := make(chan string, 2)
	must(b.ConsumeBatches(context.Background(), "orders", func(_ context.Context, ds []*bus.Delivery) error {
		var failed bus.BatchError
		var texts []string
		for i, d := range ds {
			texts = append(texts, string(d.Payload))
			if string(d.Payload) == "bad" && d.Attempt == 1 {
				failed.Add(i, errors.New("not yet"))
			}
		}
		batches <- strings.Join(texts, " ")
		return failed.Err()
	}, bus.Group("billing"), bus.BatchSize(3), bus.BatchAge(time.Second), bus.Backoff(time.Millisecond, time.Second)))
	fmt.Println(<-batches)
	fmt.Println(<-batches)
	// Output:
	// a bad c
	// bad
}

// AtMostOnce commits before the handler begins: no message is handled twice.
func ExampleAtMostOnce() {
	b := open()
	defer b.Close()
	must(0, b.Publish("emails", message.NewMessage("1", nil), message.NewMessage("2", nil)))
	handled := make(chan string, 2)
	must(b.Consume(context.Background(), "emails", func(_ context.Context, d *bus.Delivery) error {
		handled <- d.UUID
		return errors.New("the server did not answer") // it is not sent again
	}, bus.Group("sender"), bus.AtMostOnce()))
	fmt.Println(<-handled, <-handled)
	// Output: 1 2
}

// Without a group, FromOffset and FromTime read the log again from an offset or a time.
func ExampleFromOffset() {
	b := open()
	defer b.Close()
	for i := range 4 {
		must(0, b.Publish("orders", message.NewMessage(fmt.Sprint(i), nil)))
	}
	seen := make(chan int64, 2)
	must(b.Consume(context.Background(), "orders", func(_ context.Context, d *bus.Delivery) error {
		seen <- d.Offset
		return nil
	}, bus.FromOffset(2)))
	fmt.Println(<-seen, <-seen)
	// Output: 2 3
}

// Each message of one Publish has its own outcome.
func ExamplePublishError() {
	b := open(bus.WithMaxMessageBytes(100))
	defer b.Close()
	err := b.Publish("orders", message.NewMessage("1", []byte("small")), message.NewMessage("2", make([]byte, 1000)))
	var failed *bus.PublishError
	if errors.As(err, &failed) {
		for i, o := range failed.Outcomes {
			fmt.Println(i, bus.CodeOf(o.Err), o.Err == nil)
		}
	}
	// Output:
	// 0 unknown true
	// 1 too_large false
}

// PublishRecord keeps the order of the headers, and the key may have any bytes.
func ExampleBus_PublishRecord() {
	b := open()
	defer b.Close()
	done := make(chan bus.Outcome, 1)
	b.PublishRecord(context.Background(), &bus.Record{
		Topic: "orders", Partition: bus.AnyPartition, Key: []byte{0xff}, Payload: []byte("hello"),
		Headers: []bus.Header{{Key: "trace", Value: "1"}, {Key: "trace", Value: "2"}},
	}, func(o bus.Outcome) { done <- o })
	o := <-done
	fmt.Println(o.Partition >= 0, o.Offset, o.Err)
	// Output: true 0 <nil>
}

// Ready waits until the subscription is ready: it gets everything that is published afterwards.
func ExampleSubscription_Ready() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b := open()
	defer b.Close()
	got := make(chan string, 1)
	sub := must(b.Consume(ctx, "news", func(_ context.Context, d *bus.Delivery) error { got <- string(d.Payload); return nil }, bus.FromNewest()))
	must(0, sub.Ready(ctx))
	must(0, b.Publish("news", message.NewMessage("1", []byte("extra"))))
	fmt.Println(<-got)
	// Output: extra
}

// Lag reports how many records of each partition are not acknowledged.
func ExampleSubscription_Lag() {
	ctx := context.Background()
	b := open()
	defer b.Close()
	must(0, b.EnsureTopic(ctx, bus.TopicSpec{Name: "orders", Partitions: 1}))
	for i := range 3 {
		must(0, b.Publish("orders", message.NewMessage(fmt.Sprint(i), nil)))
	}
	blocked, release := make(chan struct{}), make(chan struct{})
	sub := must(b.Consume(ctx, "orders", func(context.Context, *bus.Delivery) error {
		close(blocked)
		<-release
		return bus.Stop(nil)
	}, bus.Group("billing")))
	<-blocked
	for _, l := range sub.Lag() {
		fmt.Printf("partition %d: %d of %d, %d behind\n", l.Partition, l.Position, l.End, l.Records)
	}
	close(release)
	// Output: partition 0: 0 of 3, 3 behind
}

type failures struct{ n atomic.Int64 }

func (f *failures) OnPublish(e hook.PublishEvent) {
	if e.Outcome.Err != nil {
		f.n.Add(1)
	}
}

// A hook observes every publish, delivery and commit of a bus.
func ExampleWithHooks() {
	f := &failures{}
	b := open(bus.WithHooks(f), bus.WithMaxMessageBytes(10))
	defer b.Close()
	_ = b.Publish("orders", message.NewMessage("1", make([]byte, 100)))
	fmt.Println(f.n.Load())
	// Output: 1
}

// Topics are created explicitly, unless the bus is opened with ?create=true.
func ExampleBus_EnsureTopic() {
	ctx := context.Background()
	b := must(bus.Open(ctx, "memory://"))
	defer b.Close()
	must(0, b.EnsureTopic(ctx, bus.TopicSpec{Name: "orders", Partitions: 8}))
	must(0, b.EnsureTopic(ctx, bus.TopicSpec{Name: "orders", Partitions: 8})) // it exists
	info := must(b.DescribeTopic(ctx, "orders"))
	fmt.Println(info.Name, info.Partitions)
	// Output: orders 8
}
