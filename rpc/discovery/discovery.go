// Package discovery asks the servers on a bus who they are, what they serve, and how
// that goes. They have to be made with rpc.Discoverable.
//
//	c, err := rpc.NewClient(b)
//	all, err := discovery.Ping(ctx, c, discovery.Filter{})
//	info, err := discovery.Info(ctx, c, discovery.Filter{Service: "greeter"})
//	stats, err := discovery.Stats(ctx, c, discovery.Filter{Service: "greeter", Instance: "greeter-0"})
//
// A question is a broadcast: nobody knows how many will answer. So each function waits
// as long as Timeout says, two seconds by default, or until as many have answered as
// rpc.Expect says, and returns who answered, in the order of services and instances.
// That nobody has ever served on the discovery topic is no error: then nobody answers.
// Package rpc/presence tells who is there without asking, and hears of changes.
package discovery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

// Filter says who is asked.
type Filter struct {
	// Service is the name of a service; "" means all.
	Service string
	// Instance is the id of a server; "" means all.
	Instance string
	// Topic is where to ask; "" means rpc.DefaultDiscoveryTopic.
	Topic string
	// Timeout is how long answers are waited for; 0 means two seconds. The end of the
	// context ends it, too, with an error.
	Timeout time.Duration
}

// Ping asks who is there. With an error it returns those who answered before it.
func Ping(ctx context.Context, c *rpc.Client, f Filter, opts ...rpc.CallOption) ([]rpc.Pong, error) {
	return ask(ctx, c, f, rpc.PingMethod, opts, func(p rpc.Pong) (string, string) { return p.Service, p.Instance })
}

// Info asks what is served. With an error it returns the answers before it.
func Info(ctx context.Context, c *rpc.Client, f Filter, opts ...rpc.CallOption) ([]rpc.ServiceInfo, error) {
	return ask(ctx, c, f, rpc.InfoMethod, opts, func(i rpc.ServiceInfo) (string, string) { return i.Service, i.Instance })
}

// Stats asks for counts. With an error it returns the answers before it.
func Stats(ctx context.Context, c *rpc.Client, f Filter, opts ...rpc.CallOption) ([]rpc.ServiceStats, error) {
	return ask(ctx, c, f, rpc.StatsMethod, opts, func(s rpc.ServiceStats) (string, string) { return s.Service, s.Instance })
}

func ask[A any](ctx context.Context, c *rpc.Client, f Filter, method string, opts []rpc.CallOption, name func(A) (service, instance string)) ([]A, error) {
	if f.Topic == "" {
		f.Topic = rpc.DefaultDiscoveryTopic
	}
	if f.Timeout <= 0 {
		f.Timeout = 2 * time.Second
	}
	opts = append([]rpc.CallOption{rpc.Timeout(f.Timeout)}, opts...)
	answers, err := rpc.Gather[A](ctx, c, f.Topic, method, &rpc.DiscoveryRequest{Service: f.Service, Instance: f.Instance}, opts...)
	var all []A
	for _, a := range answers {
		if a.Resp != nil { // who can't answer is not told of
			all = append(all, *a.Resp)
		}
	}
	slices.SortFunc(all, func(a, b A) int {
		as, ai := name(a)
		bs, bi := name(b)
		return cmp.Or(cmp.Compare(as, bs), cmp.Compare(ai, bi))
	})
	if errors.Is(err, rpc.ErrNoServer) || err != nil && bus.CodeOf(err) == bus.CodeNotFound {
		return all, nil
	}
	return all, err
}
