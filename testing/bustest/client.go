package bustest

import (
	"context"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/memory"
)

// Client is one more program on the kit's log, with a bus and faults of its own: another
// member of a group, which may come, leave or die. All methods are safe for concurrent use.
type Client struct {
	kit       *Kit
	bus       *bus.Bus
	faults    *Faults
	transport *memory.Transport
	crashed   atomic.Bool
}

// NewClient returns another client. The kit closes it.
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
		c.faults.stamp = k.clock.now
	}
	if c.bus, err = bus.New(c.faults, append([]bus.Option{bus.WithHooks(k.rec)}, k.settings.bus...)...); err != nil {
		c.transport.Crash() // nobody else has it
		k.t.Fatalf("bustest: %v", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clients = append(k.clients, c)
	return c
}

// Bus returns the client's bus.
func (c *Client) Bus() *bus.Bus { return c.bus }

// Faults returns what makes the client's bus misbehave.
func (c *Client) Faults() *Faults { return c.faults }

// Crash ends the client as the end of its process would: handlers' contexts end,
// nothing is committed any more, and others take over at once.
func (c *Client) Crash() {
	c.crashed.Store(true)
	c.transport.Crash()
}

// Consume is [Kit.Consume] on the client's bus.
func (c *Client) Consume(topic string, h bus.Handler, opts ...bus.SubscribeOption) *bus.Subscription {
	c.kit.t.Helper()
	return c.consume(c.kit, topic, h, opts)
}

// consume waits as k does.
func (c *Client) consume(k *Kit, topic string, h bus.Handler, opts []bus.SubscribeOption) *bus.Subscription {
	k.t.Helper()
	s, err := c.bus.Consume(context.Background(), topic, h, opts...)
	if err != nil {
		k.t.Fatalf("bustest: %v", err)
	}
	w := k.wait()
	defer w.end()
	if err := s.Ready(w.ctx); err != nil {
		k.t.Fatalf("bustest: consuming %q is not ready: %v", topic, err)
	}
	return s
}

func (c *Client) close(ctx context.Context) error {
	err := c.bus.Shutdown(ctx)
	if c.crashed.Load() {
		return nil // who has crashed can't leave in order
	}
	return err
}
