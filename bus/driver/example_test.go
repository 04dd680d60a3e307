package driver_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

// counting is a transport that wraps another one and counts the published messages.
type counting struct {
	driver.Transport
	driver.Admin // a wrapper must also embed the optional interfaces that the bus uses
	published    int
}

func (c *counting) Publish(batch []driver.Outgoing) {
	c.published += len(batch)
	c.Transport.Publish(batch)
}

// Open returns a transport without a bus, for code that wraps it.
func ExampleOpen() {
	t, err := driver.Open(context.Background(), "memory://")
	if err != nil {
		log.Fatal(err)
	}
	wrapped := &counting{Transport: t, Admin: t.(driver.Admin)}
	b, err := bus.New(wrapped, bus.WithCreateTopics(bus.TopicSpec{}))
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if err := b.Publish("orders", message.NewMessage("1", nil), message.NewMessage("2", nil)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(wrapped.published)
	// Output: 2
}

// Register makes a scheme available to bus.Open. The package of a transport calls it in init.
func ExampleRegister() {
	driver.Register("shop", func(_ context.Context, u *driver.URL) (driver.Transport, error) {
		partitions := u.Int("partitions", 4, 1) // the default is 4, the lowest value is 1
		if err := u.Done(); err != nil {        // an error for unknown parameters
			return nil, err
		}
		return memory.New(memory.WithPartitions(int32(partitions)))
	})
	_, err := bus.Open(context.Background(), "shop://?partitons=8")
	fmt.Println(err)
	// Output: shop: open: unknown URL parameter partitons (invalid_argument)
}
