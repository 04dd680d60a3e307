package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// client is a sarama client with its network.
type client struct {
	sarama.Client
	net   *network
	seeds []string
}

// newClient makes a client. It does not connect.
func (t *Transport) newClient() (*client, error) { return t.newClientWith(func(*sarama.Config) {}) }

func (t *Transport) newClientWith(change func(*sarama.Config)) (*client, error) {
	n := t.newNetwork()
	c := t.opts.saramaConfig(n)
	change(c)
	made, err := sarama.NewClient(t.seeds, c)
	if err != nil {
		n.close()
		return nil, err
	}
	return &client{Client: made, net: n, seeds: t.seeds}, nil
}

// LeastLoadedBroker returns a reachable broker if there is one. sarama asks this broker for
// a producer ID. While sarama has no metadata, its own implementation returns the same seed
// each time. If that seed is unavailable, a new producer fails only after ten seconds.
func (c *client) LeastLoadedBroker() *sarama.Broker {
	b := c.Client.LeastLoadedBroker()
	for range c.seeds {
		if b == nil || isReachable(b) {
			return b
		}
		known := c.Brokers()
		for _, other := range known {
			if _ = other.Open(c.Config()); isReachable(other) { // Open fails if it is open already
				return other
			}
		}
		if len(known) > 0 || c.RefreshBrokers(c.seeds) != nil { // RefreshBrokers shuffles the seeds
			return b
		}
		b = c.Client.LeastLoadedBroker()
	}
	return b
}

// isReachable waits for the attempt to connect to b and reports whether it succeeded.
func isReachable(b *sarama.Broker) bool {
	connected, _ := b.Connected()
	return connected
}

// close closes the client and its network. Requests that wait for an answer fail.
func (c *client) close() {
	c.net.close()
	_ = c.Close()
}

// lookupTopic returns nil if the topic exists. If the topic is unknown, it repeats the
// request for a short time, because a new topic appears in the metadata of one broker after
// the other.
func lookupTopic(ctx context.Context, c *client, topic string) error {
	if _, err := c.Partitions(topic); err == nil {
		return nil
	}
	deadline := time.Now().Add(400 * time.Millisecond)
	for {
		_, err := c.Partitions(topic)
		if err == nil || codeOf(err) != driver.CodeNotFound || time.Now().After(deadline) {
			return err
		}
		if sleep(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// lazyClient makes its client when it is first used.
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

// brokers returns the brokers in the client's metadata, none if the client was never used.
func (l *lazyClient) brokers() []*sarama.Broker {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil || l.closed {
		return nil
	}
	return l.made.Brokers()
}

// reset closes the client's connections. New ones can be opened.
func (l *lazyClient) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil {
		l.made.net.reset()
	}
}

// closeNetwork closes the client's network permanently. The caller must still call close.
func (l *lazyClient) closeNetwork() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil {
		l.made.net.close()
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
