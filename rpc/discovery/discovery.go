// Package discovery asks the servers on a bus which services they are, what they serve, and
// how many calls they have handled. It reaches servers with the option rpc.WithDiscovery.
//
//	c, err := rpc.NewClient(b)
//	pongs, err := discovery.Ping(ctx, c, discovery.Filter{})
//	infos, err := discovery.Info(ctx, c, discovery.Filter{Service: "greeter"})
//	stats, err := discovery.Stats(ctx, c, discovery.Filter{Service: "greeter", Instance: "greeter-0"})
//
// # Semantics
//
// Each function sends one request, which all servers read. The number of answers is not
// known in advance, so the function waits until Filter.Timeout expires, or until the number
// of servers set by rpc.Expect has answered. It returns the answers sorted by service and
// instance. If no server answers, or if the discovery topic does not exist, the result is
// empty and the error nil.
//
// # What it does not do
//
// It does not observe changes. Package rpc/presence lists the running instances without
// sending them requests, and notifies about changes.
package discovery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/internal/discoverywire"
)

// DefaultTopic is the topic for discovery requests.
const DefaultTopic = discoverywire.DefaultTopic

const defaultTimeout = 2 * time.Second

// Filter selects the servers to ask.
type Filter struct {
	// Service is the name of a service; "" means all.
	Service string
	// Instance is the id of a server; "" means all.
	Instance string
	// Topic is the discovery topic; "" means DefaultTopic.
	Topic string
	// Timeout is how long to wait for answers; 0 means two seconds.
	Timeout time.Duration
}

// Ping asks servers whether they are reachable. If it returns an error, for example because
// ctx has ended, it also returns the answers that arrived before.
func Ping(ctx context.Context, c *rpc.Client, f Filter, opts ...rpc.CallOption) ([]rpc.Pong, error) {
	return ask(ctx, c, f, discoverywire.MethodPing, opts, func(p rpc.Pong) (string, string) { return p.Service, p.Instance })
}

// Info asks servers what they serve. If it returns an error it also returns the answers
// that arrived before.
func Info(ctx context.Context, c *rpc.Client, f Filter, opts ...rpc.CallOption) ([]rpc.ServiceInfo, error) {
	return ask(ctx, c, f, discoverywire.MethodInfo, opts, func(i rpc.ServiceInfo) (string, string) { return i.Service, i.Instance })
}

// Stats asks servers for their counts. If it returns an error it also returns the answers
// that arrived before.
func Stats(ctx context.Context, c *rpc.Client, f Filter, opts ...rpc.CallOption) ([]rpc.ServiceStats, error) {
	return ask(ctx, c, f, discoverywire.MethodStats, opts, func(s rpc.ServiceStats) (string, string) { return s.Service, s.Instance })
}

func ask[A any](ctx context.Context, c *rpc.Client, f Filter, method string, opts []rpc.CallOption, name func(A) (service, instance string)) ([]A, error) {
	if f.Topic == "" {
		f.Topic = DefaultTopic
	}
	if f.Timeout <= 0 {
		f.Timeout = defaultTimeout
	}
	opts = append([]rpc.CallOption{rpc.Timeout(f.Timeout)}, opts...)
	answers, err := rpc.Gather[A](ctx, c, f.Topic, method, &discoverywire.Request{Service: f.Service, Instance: f.Instance}, opts...)
	var all []A
	for _, a := range answers {
		if a.Resp != nil { // skip errors
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
