package producer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/bus/producer"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/memory"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://?create=true")
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	orders, err := producer.New(b, "orders") // does not wait for a broker
	if err != nil {
		log.Fatal(err)
	}

	// Send waits for the outcome.
	report, err := orders.Send(ctx, message.NewMessage(watermill.NewUUID(), []byte("first")))
	fmt.Println(report.Topic, report.Partition, report.Offset, err)

	// SendAsync returns a receipt for the outcome.
	receipt, err := orders.SendAsync(ctx, message.NewMessage(watermill.NewUUID(), []byte("second")))
	if err != nil {
		log.Fatal(err)
	}
	report, err = receipt.Wait(ctx)
	fmt.Println(report.Topic, report.Partition, report.Offset, err)

	if err := orders.Close(); err != nil { // sends what is still queued
		log.Fatal(err)
	}
	// Output:
	// orders 0 0 <nil>
	// orders 0 1 <nil>
}

// A Typed encodes values. Options set the key, headers and other properties of one message,
// or of every message.
func ExampleTyped() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://?create=true")
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	p, err := producer.New(b, "orders")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	type Order struct{ ID, Customer string }
	orders, err := producer.NewTyped[Order](p, codec.JSON, producer.SchemaID("orders-v2")) // for every message
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan struct{})
	_, err = b.Consume(ctx, "orders", codec.Handler(codec.JSON, func(_ context.Context, o Order, d *bus.Delivery) error {
		schema, _ := d.Header(codec.SchemaIDHeader)
		tenant, _ := d.Header("tenant")
		fmt.Println(o.ID, string(d.Record.Key), schema, tenant)
		close(done)
		return nil
	}), bus.FromOldest())
	if err != nil {
		log.Fatal(err)
	}
	if _, err := orders.Send(ctx, Order{"o-1", "ada"}, producer.Key("ada"), producer.Header("tenant", "blue")); err != nil {
		log.Fatal(err)
	}
	<-done
	// Output: o-1 ada orders-v2 blue
}

// disconnectable makes a bus on the memory transport whose connection can be cut.
func disconnectable(ctx context.Context) (*bus.Bus, *bustest.Faults) {
	transport, err := memory.New()
	if err != nil {
		log.Fatal(err)
	}
	faults, err := bustest.NewFaults(transport, 1)
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(faults)
	if err != nil {
		log.Fatal(err)
	}
	if err := b.CreateTopic(ctx, bus.TopicSpec{Name: "readings", Partitions: 1}); err != nil {
		log.Fatal(err)
	}
	return b, faults
}

// With the policy Wait, messages wait until the broker is available or their context ends.
func ExampleWithOutagePolicy_wait() {
	ctx := context.Background()
	b, faults := disconnectable(ctx)
	defer b.Close()
	readings, err := producer.New(b, "readings", producer.WithOutagePolicy(producer.Wait))
	if err != nil {
		log.Fatal(err)
	}
	defer readings.Close()

	faults.Disconnect(errors.New("the network is down"))
	bounded, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, err = readings.Send(bounded, message.NewMessage(watermill.NewUUID(), []byte("21.5")))
	fmt.Println(bus.CodeOf(err))

	time.AfterFunc(10*time.Millisecond, faults.Connect)
	report, err := readings.Send(ctx, message.NewMessage(watermill.NewUUID(), []byte("21.6")))
	fmt.Println(report.Offset, err)
	// Output:
	// deadline_exceeded
	// 0 <nil>
}

// With the policy FailFast, sending fails at once while the connection is down.
func ExampleWithOutagePolicy_failFast() {
	ctx := context.Background()
	b, faults := disconnectable(ctx)
	defer b.Close()
	readings, err := producer.New(b, "readings", producer.WithOutagePolicy(producer.FailFast))
	if err != nil {
		log.Fatal(err)
	}
	defer readings.Close()

	faults.Disconnect(errors.New("the network is down"))
	_, err = readings.Send(ctx, message.NewMessage(watermill.NewUUID(), []byte("21.5")))
	fmt.Println(bus.CodeOf(err))
	// Output: unavailable
}

// With the policy Buffer, messages are kept up to a limit while the broker is unavailable.
func ExampleWithOutagePolicy_buffer() {
	ctx := context.Background()
	b, faults := disconnectable(ctx)
	defer b.Close()
	readings, err := producer.New(b, "readings", producer.WithOutagePolicy(producer.Buffer),
		producer.WithMaxOutstanding(2, 1<<20))
	if err != nil {
		log.Fatal(err)
	}

	faults.Disconnect(errors.New("the network is down"))
	for _, temperature := range []string{"21.5", "21.6", "21.7"} {
		if _, err := readings.SendAsync(ctx, message.NewMessage(watermill.NewUUID(), []byte(temperature))); err != nil {
			fmt.Println(temperature, "dropped:", bus.CodeOf(err))
		}
	}
	faults.Connect()
	if err := readings.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("sent:", readings.Stats().Sent)
	fmt.Println("closed:", readings.Close())
	// Output:
	// 21.7 dropped: resource_exhausted
	// sent: 2
	// closed: <nil>
}

// Shutdown reports the messages that it cannot send before its context ends.
func ExampleProducer_Shutdown() {
	ctx := context.Background()
	b, faults := disconnectable(ctx)
	defer b.Close()
	readings, err := producer.New(b, "readings")
	if err != nil {
		log.Fatal(err)
	}
	faults.Disconnect(errors.New("the network is down"))
	receipt, err := readings.SendAsync(ctx, message.NewMessage(watermill.NewUUID(), []byte("21.5")))
	if err != nil {
		log.Fatal(err)
	}
	bounded, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	fmt.Println("shut down:", bus.CodeOf(readings.Shutdown(bounded)))
	report, _ := receipt.Report()
	fmt.Println("message:", report.Code())
	// Output:
	// shut down: deadline_exceeded
	// message: closed
}
