package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
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

// What a failure looks like: what there is, and why it is not that.
func ExampleKit_Expect() {
	fmt.Println(failing(func(t testing.TB) {
		k := bustest.New(t, bustest.Topics("bills"), bustest.Patience(2*time.Second))
		bill := message.NewMessage("", []byte(`{"order": "o-7", "total": 13}`))
		if err := k.Bus().Publish("bills", bill); err != nil {
			t.Fatalf("%v", err)
		}
		k.Expect("bills", bustest.Includes(map[string]any{"order": "o-7", "total": 12}))
	}))
	// Output:
	// bustest: no message on "bills" with JSON that includes {"order":"o-7","total":12} within 2s
	// 1 on "bills":
	//   bills[0]@0 {"order": "o-7", "total": 13}
	//     in its JSON .total is 13, want 12
}

// A program that calls a service is tested without it.
func ExampleKit_Stub() {
	type Quote struct{ Cents int }
	fmt.Println(failing(func(t testing.TB) {
		k := bustest.New(t)
		prices := k.Stub("prices",
			bustest.Method("Quote").Fails(rpc.NewError(codes.Unavailable, errors.New("not yet"))),
			bustest.Method("Quote").Returns(&Quote{Cents: 1200}).After(time.Millisecond))
		c, err := rpc.NewClient(k.Bus())
		if err != nil {
			t.Fatalf("%v", err)
		}
		defer c.Close()
		for range 2 {
			quote, err := rpc.Call[Quote](t.Context(), c, "prices", "Quote", map[string]string{"item": "tea"}, rpc.Key("tea"))
			fmt.Println(quote, err)
		}
		fmt.Println(prices.Expect("Quote", bustest.Key("tea")))
	}))
	// Output:
	// <nil> rpc: Quote on prices: Unavailable: not yet (remote)
	// &{1200} <nil>
	// Quote key "tea" {"item":"tea"}
}

// A member of a group dies in the middle of a message, and another gets it.
func ExampleClient_Crash() {
	fmt.Println(failing(func(t testing.TB) {
		k := bustest.New(t, bustest.Topics("orders"))
		begun := make(chan struct{})
		first := k.NewClient()
		first.Consume("orders", func(ctx context.Context, _ *bus.Delivery) error {
			close(begun)
			<-ctx.Done()
			return context.Cause(ctx)
		}, bus.Group("billing"))
		k.Publish("orders", bustest.Payload("tea"))
		<-begun
		first.Crash()
		k.Consume("orders", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("billing"))
		fmt.Println(k.ExpectDelivered("orders", bustest.Acknowledged()))
		k.ExpectLag("billing", "orders", 0)
	}))
	// Output:
	// orders[0]@0 tea to group "billing", attempt 1: acknowledged
}
