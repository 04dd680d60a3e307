package kafka

import (
	"sync"

	"github.com/IBM/sarama"
)

// client is a sarama client and the network it is on.
type client struct {
	sarama.Client
	net *network
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
	return &client{Client: made, net: n}, nil
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
