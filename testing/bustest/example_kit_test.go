package bustest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
)

// An order comes in, a bill goes out: the program under test.
func billing(b *bus.Bus) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		var order struct{ Cents int }
		if err := json.Unmarshal(d.Payload, &order); err != nil {
			return bus.DeadLetter(err)
		}
		bill := message.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, `{"total": %d}`, order.Cents/100))
		bill.SetContext(ctx)
		bus.SetKey(bill, bus.Key(d.Message))
		return b.Publish("bills", bill)
	}
}

// The test, which a *testing.T is given to.
func testBilling(t testing.TB) {
	k := bustest.New(t, bustest.Topics("orders", "orders.dead", "bills"))
	k.Consume("orders", billing(k.Bus()), bus.Group("billing"), bus.DeadLetterTopic("orders.dead"))

	k.Publish("orders", bustest.Key("o-7"), bustest.JSON(map[string]any{"cents": 1200}))
	k.Publish("orders", bustest.Key("o-8"), bustest.Payload("not JSON"))

	k.Expect("bills", bustest.Key("o-7"), bustest.Includes(map[string]any{"total": 12}))
	k.Expect("orders.dead", bustest.Key("o-8"), bustest.DeadLetterFrom("orders"))
	k.ExpectNone("bills")
	k.ExpectLag("billing", "orders", 0)

	k.Faults().Inject(bustest.OnPublish("bills", bustest.Nth(1), bustest.Fail(bus.CodeUnavailable)))
	k.Publish("orders", bustest.Key("o-9"), bustest.JSON(map[string]any{"cents": 300}))
	k.ExpectDelivered("orders", bustest.Key("o-9"), bustest.Redelivered(), bustest.Acknowledged())
}

// A test of a handler.
func Example() {
	fmt.Printf("failures: %q", failing(testBilling))
	// Output: failures: ""
}
