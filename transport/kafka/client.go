package kafka

import (
	"sync"

	"github.com/IBM/sarama"
)

// client is a sarama client and the network it is on.
type client struct {
	sarama.Client
	net   *network
	seeds []string
}

// newClient makes a client. It does not connect.
func (t *Transport) newClient() (*client, error) { return t.newClientWith(func(*sarama.Config) {}) }

func (t *Transport) newClientWith(change func(*sarama.Config)) (*client, error) {
	n := t.newNetwork()
	c := t.opts.configure(n)
	change(c)
	made, err := sarama.NewClient(t.seeds, c)
	if err != nil {
		n.cut()
		return nil, err
	}
	return &client{Client: made, net: n, seeds: t.seeds}, nil
}

// LeastLoadedBroker returns a broker that can be reached, where there is one. Sarama asks
// it for a producer's id, and its own returns, while it has no metadata, the same seed
// again and again: where that had gone, a new producer took ten seconds to give up on it.
func (c *client) LeastLoadedBroker() *sarama.Broker {
	b := c.Client.LeastLoadedBroker()
	for range c.seeds {
		if b == nil || reached(b) {
			return b
		}
		known := c.Brokers()
		for _, other := range known {
			if _ = other.Open(c.Config()); reached(other) { // it may be open already
				return other
			}
		}
		if len(known) > 0 || c.RefreshBrokers(c.seeds) != nil { // which shuffles them
			return b
		}
		b = c.Client.LeastLoadedBroker()
	}
	return b
}

// reached waits for the broker's connection, which is being made, and says whether there
// is one.
func reached(b *sarama.Broker) bool {
	connected, _ := b.Connected()
	return connected
}

// close cuts the client off; nothing it still waits for is answered.
func (c *client) close() {
	c.net.cut()
	_ = c.Close()
}

// lazyClient is a client that is made when it is first needed.
type lazyClient struct {
	make func() (*client, error)

	mu     sync.Mutex
	made   *client
	closed bool
}

func (l *lazyClient) get() (*client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, closedError("connect", "")
	}
	if l.made == nil {
		c, err := l.make()
		if err != nil {
			return nil, err
		}
		l.made = c
	}
	return l.made, nil
}

// brokers returns those that metadata named, none when the client was never used.
func (l *lazyClient) brokers() []*sarama.Broker {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil || l.closed {
		return nil
	}
	return l.made.Brokers()
}

func (l *lazyClient) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil {
		l.made.net.reset()
	}
}

// cut refuses the client any answer; close is still to be called.
func (l *lazyClient) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil {
		l.made.net.cut()
	}
}

func (l *lazyClient) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil && !l.closed {
		l.made.close()
	}
	l.closed = true
}
