package bustest_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/memory"
)

// What does the program do when its third order can't be published?
func ExampleNewFaults() {
	transport, err := memory.New()
	if err != nil {
		panic(err)
	}
	faults, err := bustest.NewFaults(transport, 1,
		bustest.OnPublish("orders", bustest.Nth(3), bustest.Fail(bus.Unavailable)))
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

// A subscriber loses its broker, and has it back.
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
