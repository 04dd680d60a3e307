package bustest_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/memory"
)

// Wrap a transport so that the third message to a topic cannot be published.
func ExampleNewFaults() {
	transport, err := memory.New()
	if err != nil {
		panic(err)
	}
	faults, err := bustest.NewFaults(transport, 1,
		bustest.OnPublish("orders", bustest.Nth(3), bustest.Fail(bus.CodeUnavailable)))
	if err != nil {
		panic(err)
	}
	b, err := bus.New(faults)
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.CreateTopic(context.Background(), bus.TopicSpec{Name: "orders"}); err != nil {
		panic(err)
	}
	for i := range 4 {
		fmt.Println(i+1, b.Publish("orders", message.NewMessage(fmt.Sprint(i), nil)))
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 3 memory: publish "orders": a fault was injected (unavailable)
	// 4 <nil>
}

// Cut the connection between a bus and its broker, and restore it.
func ExampleFaults_Disconnect() {
	transport, err := memory.New()
	if err != nil {
		panic(err)
	}
	faults, err := bustest.NewFaults(transport, 1)
	if err != nil {
		panic(err)
	}
	b, err := bus.New(faults)
	if err != nil {
		panic(err)
	}
	defer b.Close()
	faults.Disconnect(nil)
	fmt.Println(b.Connection().State, bus.CodeOf(b.Ping(context.Background())))
	faults.Connect()
	fmt.Println(b.Connection().State, b.Ping(context.Background()))
	// Output:
	// disconnected unavailable
	// connected <nil>
}

// Record what happens on a bus that is not a kit's.
func ExampleRecorder() {
	transport, err := memory.New()
	if err != nil {
		panic(err)
	}
	rec := bustest.NewRecorder()
	b, err := bus.New(transport, bus.WithHooks(rec))
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.Publish("nowhere", message.NewMessage("1", []byte("tea"))); err == nil {
		panic("published to a topic that does not exist")
	}
	for _, m := range rec.PublishFailures("") {
		fmt.Println(m, bus.CodeOf(m.Err))
	}
	// Output:
	// nowhere (not in the log) tea not_found
}
