package bustest

import (
	"context"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/memory"
)

// Client is another program on the kit's log, with its own bus and faults. Use it as one more
// member of a group, which can join, leave or crash. All methods are safe for concurrent use;
// Consume must be called from the test's goroutine.
type Client struct {
	kit       *Kit
	bus       *bus.Bus
	faults    *Faults
	transport *memory.Transport
	crashed   atomic.Bool
}

// NewClient returns another client of the kit's log. The kit closes it.
func (k *Kit) NewClient() *Client {
	k.t.Helper()
	c := &Client{kit: k}
	var err error
	if c.transport, err = memory.New(memory.WithLog(k.log)); err != nil {
		k.t.Fatalf("bustest: %v", err)
	}
	if c.faults, err = NewFaults(c.transport, k.seed); err != nil {
		k.t.Fatalf("bustest: %v", err)
	}
	if k.clock != nil {
		c.faults.timestamp = k.clock.now
	}
	if c.bus, err = bus.New(c.faults, append([]bus.Option{bus.WithHooks(k.rec), bus.WithLogger(k.out.logger())}, k.settings.bus...)...); err != nil {
		c.transport.Crash() // no bus will close it
		k.t.Fatalf("bustest: %v", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clients = append(k.clients, c)
	return c
}

// Bus returns the client's bus.
func (c *Client) Bus() *bus.Bus { return c.bus }

// Faults returns the faults of the client's bus.
func (c *Client) Faults() *Faults { return c.faults }

// Crash ends the client like the death of its process: the contexts of its handlers end, it
// commits nothing more, and the other members of its groups get its partitions at once.
func (c *Client) Crash() {
	c.crashed.Store(true)
	c.transport.Crash()
}

// Consume is [Kit.Consume] on the client's bus.
func (c *Client) Consume(topic string, h bus.Handler, opts ...bus.SubscribeOption) *bus.Subscription {
	c.kit.t.Helper()
	return c.consume(c.kit, topic, h, opts)
}

// consume subscribes, and waits for readiness as long as k waits.
func (c *Client) consume(k *Kit, topic string, h bus.Handler, opts []bus.SubscribeOption) *bus.Subscription {
	k.t.Helper()
	s, err := c.bus.Consume(context.Background(), topic, h, opts...)
	if err != nil {
		k.t.Fatalf("bustest: %v", err)
	}
	w := k.startWait()
	defer w.cancel()
	if err := s.Ready(w.ctx); err != nil {
		k.t.Fatalf("bustest: the subscription to %q is not ready: %v", topic, err)
	}
	return s
}

func (c *Client) close(ctx context.Context) error {
	err := c.bus.Shutdown(ctx)
	if c.crashed.Load() {
		return nil // a crashed client cannot shut down in order
	}
	return err
}
