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

// network is the broker, and the way to it, that the demo runs on.
type network struct {
	// what says what it is, for people.
	what string
	// open makes a transport of its own for a bus.
	open func(ctx context.Context) (driver.Transport, error)
	// cut takes the network away from every transport, restore gives it back; cut is
	// nil where there is nothing to cut, and whole says why.
	cut, restore func()
	whole        string
	close        func()
}

// openNetwork opens what url names. run makes the names of what is shared with other
// users of the process unique.
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
			"the demo does not run on %q: give memory://demo, chan://, kafka-embedded:// or kafka://host:port,host:port", u.Scheme)}
	}
}

// named gives a URL without a name one: core and adapter must meet.
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
		whole: "a Go channel has no connection that could be cut: readiness has nothing to lose here, so no cut is made",
		close: func() {},
	}
}

func openEmbedded(ctx context.Context, u *driver.URL) (*network, error) {
	if err := u.Done(); err != nil {
		return nil, err
	}
	if u.Host != "" || u.Path != "" {
		return nil, &bus.Error{Code: bus.CodeInvalidArgument, Op: "open", Reason: "kafka-embedded:// takes no host: the broker picks its port itself"}
	}
	broker, err := kafkatest.Start(ctx)
	if err != nil {
		return nil, err
	}
	n := overKafka("an embedded Kafka broker at "+strings.Join(broker.Addrs(), ","), broker.Addrs())
	n.close = func() { _ = broker.Close() } // its error is always nil
	return n, nil
}

func openKafka(u *driver.URL) (*network, error) {
	if err := u.Done(); err != nil {
		return nil, err
	}
	if u.Host == "" || u.Path != "" {
		return nil, &bus.Error{Code: bus.CodeInvalidArgument, Op: "open", Reason: "the URL names no brokers, or has a path: write kafka://host:port,host:port"}
	}
	return overKafka("Kafka at "+u.Host, u.Hosts()), nil
}

// overKafka has every connection go through a dialer that can refuse it.
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

// cannot lists what a transport lacks, in words.
func cannot(c bus.Capabilities) []string {
	var list []string
	for _, l := range []struct {
		has  bool
		text string
	}{
		{c.Ordered, "keeps no order"},
		{c.Keys, "carries no keys, so no order by key"},
		{c.Groups, "has no consumer groups: every server of a topic runs every request"},
		{c.Replay, "keeps no log: nothing can be read again, and what is published while nobody subscribes is gone"},
		{c.Redelivery, "does not deliver again what a crash left unacknowledged"},
		{c.CrossProcess, "does not reach other processes"},
		{c.Durable, "loses everything when the process ends"},
	} {
		if !l.has {
			list = append(list, l.text)
		}
	}
	return list
}
