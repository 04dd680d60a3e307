package rpc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/presence"
)

// DefaultDiscoveryTopic is where servers are asked about themselves.
const DefaultDiscoveryTopic = "trunkline.discovery"

// The methods that every discoverable server has on the discovery topic. Their request
// is a DiscoveryRequest, broadcast; whom it does not mean does not answer. Package
// rpc/discovery asks them.
const (
	// PingMethod answers with a Pong.
	PingMethod = "trunkline.ping"
	// InfoMethod answers with a ServiceInfo.
	InfoMethod = "trunkline.info"
	// StatsMethod answers with a ServiceStats.
	StatsMethod = "trunkline.stats"
)

// DiscoveryRequest asks all servers, or those of one service, or one of them.
type DiscoveryRequest struct {
	// Service is the name of a service; "" means all.
	Service string `json:"service,omitempty"`
	// Instance is the id of a server; "" means all.
	Instance string `json:"instance,omitempty"`
}

// Pong is a server's answer to a ping.
type Pong struct {
	Service  string `json:"service"`
	Instance string `json:"instance"`
	Version  string `json:"version,omitempty"`
}

// ServiceInfo says what a server is and serves.
type ServiceInfo struct {
	Service     string            `json:"service"`
	Instance    string            `json:"instance"`
	Version     string            `json:"version,omitempty"`
	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Started     time.Time         `json:"started"`
	Topics      []string          `json:"topics"`
	Methods     []MethodInfo      `json:"methods"`
}

// MethodInfo describes a method; see [Method].
type MethodInfo struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Request     string `json:"request,omitempty"`
	Response    string `json:"response,omitempty"`
}

// ServiceStats are a server's counts.
type ServiceStats struct {
	Service  string        `json:"service"`
	Instance string        `json:"instance"`
	Version  string        `json:"version,omitempty"`
	Started  time.Time     `json:"started"`
	Topics   []string      `json:"topics"`
	Total    ServerStats   `json:"total"`
	Methods  []MethodStats `json:"methods"`
}

type discoverable struct {
	topic    bus.TopicSpec
	presence []presence.Option
}

// Discoverable has the server announce itself (see package rpc/presence, whose options
// these are) while it serves, and answer who asks about it on the discovery topic. It
// is known by the name of its [Service], or without one by the first topic it serves.
// Both topics are created where topics are and they are missing; a broker that is away
// is tried again, and never keeps the server from serving. Default: it is not known.
func Discoverable(opts ...presence.Option) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if c.discoverable == nil {
			c.discoverable = &discoverable{topic: bus.TopicSpec{Name: DefaultDiscoveryTopic, Partitions: 1}}
		}
		c.discoverable.presence = append(c.discoverable.presence, opts...)
		return nil
	})
}

// DiscoveryTopic is Discoverable with another topic to be asked on; who asks must name
// the same one. An empty Name is DefaultDiscoveryTopic, 0 Partitions are one.
func DiscoveryTopic(spec bus.TopicSpec) ServerOption {
	return serverOption(func(c *serverConfig) error {
		if spec.Name == "" {
			spec.Name = DefaultDiscoveryTopic
		}
		if spec.Partitions == 0 {
			spec.Partitions = 1
		}
		if c.discoverable == nil {
			c.discoverable = &discoverable{}
		}
		c.discoverable.topic = spec
		return nil
	})
}

// discovery makes one server known.
type discovery struct {
	server    *Server
	name      string
	announcer *presence.Announcer
	inner     *Server // answers on the discovery topic
	ctx       context.Context
	cancel    context.CancelFunc
	all       sync.WaitGroup

	mu     sync.Mutex
	topics []string // served, sorted
}

// discover begins to make the server known, as serving topic, unless it is already.
// s.mu is held. It fails when what is to be announced is too much.
func (s *Server) discover(topic string) error {
	if s.cfg.discoverable == nil || s.discovery != nil {
		return nil
	}
	d := &discovery{server: s, name: s.service.Name}
	if d.name == "" {
		if d.name = topic; !validName(topic, 100) {
			d.name = "unnamed"
		}
	}
	inner, err := NewServer(s.bus, Broadcast(), Instance(s.id), ReplayCache(0, 0), Concurrency(4), WithWire(s.cfg.wire),
		WithLogger(s.cfg.logger), ReplyTopics(s.cfg.replyTo))
	if err != nil {
		return err
	}
	d.inner = inner
	for _, err := range []error{
		Handle(inner, PingMethod, answering(d, func() *Pong { return &Pong{d.name, s.id, s.service.Version} })),
		Handle(inner, InfoMethod, answering(d, d.info)),
		Handle(inner, StatsMethod, answering(d, d.stats)),
	} {
		if err != nil {
			return err
		}
	}
	opts := append([]presence.Option{presence.WithLogger(s.cfg.logger)}, s.cfg.discoverable.presence...)
	d.announcer, err = presence.Announce(s.bus, presence.Instance{Service: d.name, ID: s.id, Version: s.service.Version,
		Metadata: s.service.Metadata, Started: s.made}, opts...)
	if err != nil {
		return invalidOption("the server can't be announced: " + err.Error())
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	s.discovery = d
	d.all.Go(d.serve)
	return nil
}

// answering makes a handler that answers when it is meant.
func answering[Resp any](d *discovery, answer func() *Resp) func(context.Context, *DiscoveryRequest) (*Resp, error) {
	return func(_ context.Context, r *DiscoveryRequest) (*Resp, error) {
		if r.Service != "" && r.Service != d.name || r.Instance != "" && r.Instance != d.server.id {
			return nil, errNoAnswer
		}
		return answer(), nil
	}
}

// serves announces a topic for as long as the subscription lives.
func (d *discovery) serves(topic string, sub *bus.Subscription) {
	d.announce(func(topics []string) []string { return append(topics, topic) })
	d.all.Go(func() {
		select {
		case <-sub.Done():
			d.announce(func(topics []string) []string {
				i := slices.Index(topics, topic)
				return slices.Delete(topics, i, i+1)
			})
		case <-d.ctx.Done():
		}
	})
}

func (d *discovery) announce(change func([]string) []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.topics = change(d.topics)
	slices.Sort(d.topics)
	if err := d.announcer.SetTopics(slices.Compact(slices.Clone(d.topics))...); err != nil {
		d.server.cfg.logger.Warn("the server's topics can't be announced", "error", err)
	}
}

func (d *discovery) served() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Compact(slices.Clone(d.topics))
}

// serve answers on the discovery topic until ctx ends or the bus is closed.
func (d *discovery) serve() {
	topic := d.server.cfg.discoverable.topic
	back := RetryPolicy{}.withDefaults()
	for attempt := 1; ; attempt++ {
		making, cancel := context.WithTimeout(d.ctx, 30*time.Second)
		err := d.server.bus.EnsureTopic(making, topic)
		cancel()
		if err == nil {
			err = d.serveUntil(topic.Name)
		}
		if d.ctx.Err() != nil || bus.CodeOf(err) == bus.CodeClosed {
			return
		}
		d.server.cfg.logger.Warn("the server can't be asked about itself", "topic", topic.Name, "error", err)
		if !sleep(d.ctx, back.pause(min(attempt, 10))) {
			return
		}
	}
}

func (d *discovery) serveUntil(topic string) error {
	sub, err := d.inner.Start(d.ctx, topic)
	if err != nil {
		return err
	}
	<-sub.Done() // it ends with ctx too
	if err := sub.Err(); err != nil {
		return err
	}
	return &bus.Error{Code: bus.CodeClosed, Op: "serve", Topic: topic, Reason: "the bus is being closed"}
}

// close takes the announcement back, first of all.
func (d *discovery) close(ctx context.Context) error {
	err := d.announcer.Close(ctx)
	d.cancel()
	if shut := d.inner.Shutdown(ctx); err == nil {
		err = shut
	}
	d.all.Wait() // bounded: its context has ended
	if bus.CodeOf(err) == bus.CodeClosed || errors.Is(err, errShutdown) {
		return nil // there is nothing left to tell anybody
	}
	return err
}

func (d *discovery) info() *ServiceInfo {
	s := d.server
	info := &ServiceInfo{Service: d.name, Instance: s.id, Version: s.service.Version, Description: s.service.Description,
		Metadata: s.service.Metadata, Started: s.made, Topics: d.served()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.methods {
		info.Methods = append(info.Methods, MethodInfo{m.Name, m.Description, m.Request, m.Response})
	}
	slices.SortFunc(info.Methods, func(a, b MethodInfo) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return info
}

func (d *discovery) stats() *ServiceStats {
	s := d.server
	return &ServiceStats{Service: d.name, Instance: s.id, Version: s.service.Version, Started: s.made, Topics: d.served(),
		Total: s.Stats(), Methods: s.MethodStats()}
}
