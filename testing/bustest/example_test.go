package bustest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/testing/bustest"
)

// billing is the program under test: it publishes a bill for each order.
func billing(b *bus.Bus) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		var order struct{ Cents int }
		if err := json.Unmarshal(d.Payload, &order); err != nil {
			return bus.DeadLetter(err)
		}
		bill := message.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, `{"total": %d}`, order.Cents/100))
		bill.SetContext(ctx)
		bus.SetKey(bill, string(d.Record.Key))
		return b.Publish("bills", bill)
	}
}

// testBilling is a test. In a real program its parameter is a *testing.T.
func testBilling(t testing.TB) {
	k := bustest.New(t, bustest.WithTopics("orders", "orders.dead", "bills"))
	k.Consume("orders", billing(k.Bus()), bus.Group("billing"), bus.DeadLetterTopic("orders.dead"))

	k.Publish("orders", bustest.Key("o-7"), bustest.JSON(map[string]any{"cents": 1200}))
	k.Publish("orders", bustest.Key("o-8"), bustest.Payload("not JSON"))

	k.Expect("bills", bustest.Key("o-7"), bustest.JSONIncludes(map[string]any{"total": 12}))
	k.Expect("orders.dead", bustest.Key("o-8"), bustest.DeadLetterFrom("orders"))
	k.ExpectNone("bills")
	k.ExpectLag("billing", "orders", 0)
}

// Test a handler: publish its input, expect its output. The examples of this package run a test with
// runTest, which returns how the test failed.
func Example() {
	fmt.Printf("failures: %q", runTest(testBilling))
	// Output: failures: ""
}

// A failure lists the messages that were published, and why each of them does not match.
func ExampleKit_Expect() {
	fmt.Println(runTest(func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("bills"), bustest.WithTimeout(time.Second))
		bill := message.NewMessage("", []byte(`{"order": "o-7", "total": 13}`))
		if err := k.Bus().Publish("bills", bill); err != nil {
			t.Fatalf("%v", err)
		}
		k.Expect("bills", bustest.JSONIncludes(map[string]any{"order": "o-7", "total": 12}))
	}))
	// Output:
	// bustest: no message on "bills" with JSON that includes {"order":"o-7","total":12} within 1s
	// 1 on "bills":
	//   bills[0]@0 {"order": "o-7", "total": 13}
	//     in its JSON .total is 13, want 12
}

// A property describes the message to publish, or the message to expect.
func ExampleProperty() {
	fmt.Println(runTest(func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("orders"), bustest.WithPartitions(4))
		k.Consume("orders", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("billing"))

		k.Publish("orders", bustest.Key("o-7"), bustest.Header("source", "shop"), bustest.Partition(2),
			bustest.JSON(map[string]int{"cents": 1200}))

		fmt.Println(k.ExpectDelivered("orders", bustest.ToGroup("billing"), bustest.Acknowledged(), bustest.HasHeader("source"),
			bustest.Matching("a key of an order", func(m bustest.Message) bool { return m.Key[:2] == "o-" })))
	}))
	// Output:
	// orders[2]@0 key "o-7" {source: shop} {"cents":1200} to group "billing", attempt 1: acknowledged
}

// Check what a group has committed, here while the second message still fails.
func ExampleKit_ExpectCommitted() {
	fmt.Println(runTest(func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("orders"))
		k.Consume("orders", func(_ context.Context, d *bus.Delivery) error {
			if string(d.Payload) == "bad" {
				return errors.New("no such customer")
			}
			return nil
		}, bus.Group("billing"))

		k.Publish("orders", bustest.Payload("good"))
		k.Publish("orders", bustest.Payload("bad"))

		k.ExpectDelivered("orders", bustest.Payload("bad"), bustest.FailedWith(bus.CodeUnknown))
		k.ExpectCommitted("billing", "orders", 0, 1)
		fmt.Println("lag:", k.Lag("billing", "orders"))
	}))
	// Output: lag: 1
}

// A recorder shows what the program did: its publishes, deliveries and commits.
func ExampleKit_Recorder() {
	fmt.Println(runTest(func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("orders", "bills"))
		k.Consume("orders", billing(k.Bus()), bus.Group("billing"))
		k.Publish("orders", bustest.Payload(`{"cents": 300}`))
		k.WaitIdle()
		for _, m := range k.Recorder().Published("bills") {
			fmt.Println("published:", m)
		}
		for _, d := range k.Recorder().Deliveries("orders") {
			fmt.Println("delivered:", d)
		}
		for _, c := range k.Recorder().Commits("orders") {
			fmt.Println("committed:", c.Offset)
		}
	}))
	// Output:
	// published: bills[0]@0 {"total": 3}
	// delivered: orders[0]@0 {"cents": 300} to group "billing", attempt 1: acknowledged
	// committed: 1
}

// Make the first publish of the program fail, and check that it handles the order again.
func ExampleKit_Faults() {
	fmt.Println(runTest(func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("orders", "bills"))
		k.Consume("orders", billing(k.Bus()), bus.Group("billing"), bus.Backoff(time.Millisecond, time.Millisecond))
		fail := bustest.OnPublish("bills", bustest.Nth(1), bustest.Fail(bus.CodeUnavailable))
		if err := k.Faults().Inject(fail); err != nil {
			t.Fatalf("%v", err)
		}

		k.Publish("orders", bustest.Payload(`{"cents": 300}`))

		fmt.Println(k.ExpectDelivered("orders", bustest.FailedWith(bus.CodeUnavailable)))
		fmt.Println(k.ExpectDelivered("orders", bustest.Redelivered(), bustest.Acknowledged()))
	}))
	// Output:
	// orders[0]@0 {"cents": 300} to group "billing", attempt 1: memory: publish "bills": a fault was injected (unavailable)
	// orders[0]@0 {"cents": 300} to group "billing", attempt 2: acknowledged
}

// Rebalance a group while a handler runs: the handler's context ends, and the message is delivered
// again.
func ExampleKit_Rebalance() {
	fmt.Println(runTest(func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("orders"))
		started := make(chan struct{}, 1)
		rebalanced := false
		k.Consume("orders", func(ctx context.Context, _ *bus.Delivery) error {
			if !rebalanced {
				rebalanced = true
				started <- struct{}{}
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}, bus.Group("billing"))

		k.Publish("orders", bustest.Payload("tea"))
		<-started
		k.Rebalance("billing", "orders")

		k.ExpectDelivered("orders", bustest.FailedWith(bus.CodeRevoked))
		fmt.Println("deliveries:", k.ExpectDelivered("orders", bustest.Redelivered(), bustest.Acknowledged()).Count)
	}))
	// Output: deliveries: 2
}

// Crash a member of a group while it handles a message: another member handles the message.
func ExampleClient_Crash() {
	fmt.Println(runTest(func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("orders"))
		started := make(chan struct{})
		member := k.NewClient()
		member.Consume("orders", func(ctx context.Context, _ *bus.Delivery) error {
			close(started)
			<-ctx.Done()
			return context.Cause(ctx)
		}, bus.Group("billing"))
		k.Publish("orders", bustest.Payload("tea"))
		<-started
		member.Crash()

		k.Consume("orders", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("billing"))

		fmt.Println(k.ExpectDelivered("orders", bustest.Acknowledged()))
		k.ExpectLag("billing", "orders", 0)
	}))
	// Output:
	// orders[0]@0 tea to group "billing", attempt 1: acknowledged
}

// Set the timestamps of messages. To test time-outs and back-offs, run the test inside
// testing/synctest instead; see TestBackoffOfAnHourTakesNoTimeInABubble.
func ExampleWithClock() {
	fmt.Println(runTest(func(t testing.TB) {
		noon := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
		k := bustest.New(t, bustest.WithTopics("orders"), bustest.WithClock(noon))
		timestamps := make(chan time.Time, 2)
		k.Consume("orders", func(_ context.Context, d *bus.Delivery) error {
			timestamps <- d.Record.Timestamp
			return nil
		})
		k.Publish("orders")
		k.Advance(time.Minute)
		k.Publish("orders")
		k.WaitIdle()
		fmt.Println((<-timestamps).UTC().Format(time.TimeOnly), (<-timestamps).UTC().Format(time.TimeOnly))
	}))
	// Output: 12:00:00 12:01:00
}

// Test a program that calls a service, without the service.
func ExampleKit_Stub() {
	type Quote struct{ Cents int }
	fmt.Println(runTest(func(t testing.TB) {
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

// Compare everything that the program publishes with testdata/bills.golden. The first run creates
// the file: BUSTEST_UPDATE=1 go test.
func ExampleKit_Golden() {
	fmt.Printf("failures: %q", runTest(func(t testing.TB) {
		k := bustest.New(t, bustest.WithTopics("orders", "bills"))
		k.Consume("orders", billing(k.Bus()), bus.Group("billing"))
		k.Publish("orders", bustest.Key("o-7"), bustest.JSON(map[string]any{"cents": 1200}))
		k.Golden("bills", bustest.OnlyTopics("bills"))
	}))
	// Output: failures: ""
}
