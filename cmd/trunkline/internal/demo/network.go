package demo

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	_ "github.com/trunkline/trunkline/transport/gochannel" // the scheme chan
	"github.com/trunkline/trunkline/transport/kafka"
	"github.com/trunkline/trunkline/transport/memory"
)

// network is the broker that the demo uses, and the connections to it.
type network struct {
	// what is the name of the network in the output.
	what string
	// open returns a new transport.
	open func(ctx context.Context) (driver.Transport, error)
	// cut disconnects every transport, and restore connects them again. If the network cannot
	// be cut, cut is nil and noCut is the reason.
	cut, restore func()
	noCut        string
	close        func()
}

// openNetwork opens the network of a URL. run is a unique name, for a URL without one.
func openNetwork(ctx context.Context, url, run string) (*network, error) {
	u, err := driver.ParseURL(url)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "memory":
		return openMemory(ctx, named(url, u, run)), nil
	case "chan":
		return openChannels(named(url, u, run)), nil
	case "kafka-embedded":
		return openEmbedded(ctx, u)
	case "kafka":
		return openKafka(u)
	default:
		return nil, &bus.Error{Code: bus.CodeInvalidArgument, Op: "open", Reason: fmt.Sprintf(
			"the demo does not support the scheme %q: use memory://demo, chan://, kafka-embedded:// or kafka://host:port,host:port", u.Scheme)}
	}
}

// named adds a name to a URL without one, so that core and adapter use the same log.
func named(url string, u *driver.URL, run string) string {
	if u.Host != "" || u.Path != "" {
		return url
	}
	_, rest, _ := strings.Cut(url, "://")
	return u.Scheme + "://demo-" + run + strings.TrimPrefix(rest, "/")
}

func openMemory(_ context.Context, url string) *network {
	var mu sync.Mutex
	var transports []*memory.Transport
	each := func(do func(*memory.Transport)) {
		mu.Lock()
		defer mu.Unlock()
		for _, t := range transports {
			do(t)
		}
	}
	return &network{
		what: "the in-memory log " + url,
		open: func(ctx context.Context) (driver.Transport, error) {
			t, err := driver.Open(ctx, url)
			if err != nil {
				return nil, err
			}
			if m, ok := t.(*memory.Transport); ok {
				mu.Lock()
				defer mu.Unlock()
				transports = append(transports, m)
			}
			return t, nil
		},
		cut:     func() { each(func(t *memory.Transport) { t.Disconnect(nil) }) },
		restore: func() { each(func(t *memory.Transport) { t.Connect() }) },
		close:   func() {},
	}
}

func openChannels(url string) *network {
	return &network{
		what:  "Go channels " + url,
		open:  func(ctx context.Context) (driver.Transport, error) { return driver.Open(ctx, url) },
		noCut: "a Go channel has no connection that could be cut",
		close: func() {},
	}
}

func openEmbedded(ctx context.Context, u *driver.URL) (*network, error) {
	if err := u.Done(); err != nil {
		return nil, err
	}
	if u.Host != "" || u.Path != "" {
		return nil, &bus.Error{Code: bus.CodeInvalidArgument, Op: "open", Reason: "kafka-embedded:// must have no host: the broker picks its port"}
	}
	broker, err := kafkatest.Start(ctx)
	if err != nil {
		return nil, err
	}
	n := overKafka("an embedded Kafka broker at "+strings.Join(broker.Addrs(), ","), broker.Addrs())
	n.close = func() { _ = broker.Close() } // it always returns nil
	return n, nil
}

func openKafka(u *driver.URL) (*network, error) {
	if err := u.Done(); err != nil {
		return nil, err
	}
	if u.Host == "" || u.Path != "" {
		return nil, &bus.Error{Code: bus.CodeInvalidArgument, Op: "open", Reason: "the URL has no brokers, or has a path: write kafka://host:port,host:port"}
	}
	return overKafka("Kafka at "+u.Host, u.Hosts()), nil
}

// overKafka returns a network whose connections go through a dialer that can cut them.
func overKafka(what string, addrs []string) *network {
	dialer := &kafkatest.Dialer{}
	return &network{
		what: what,
		open: func(context.Context) (driver.Transport, error) {
			return kafka.New(addrs, kafka.WithDialer(dialer.DialContext))
		},
		cut:     dialer.Cut,
		restore: dialer.Restore,
		close:   func() {},
	}
}

// cannot lists the features that a transport does not have.
func cannot(c bus.Capabilities) []string {
	var list []string
	for _, l := range []struct {
		has  bool
		text string
	}{
		{c.Ordered, "does not keep order"},
		{c.Keys, "has no keys, so no order by key"},
		{c.Groups, "has no consumer groups: every server of a topic runs every request"},
		{c.Replay, "has no log: messages cannot be read again, and a message without subscribers is lost"},
		{c.Redelivery, "does not redeliver unacknowledged messages after a crash"},
		{c.CrossProcess, "does not reach other processes"},
		{c.Durable, "loses all messages when the process ends"},
	} {
		if !l.has {
			list = append(list, l.text)
		}
	}
	return list
}
