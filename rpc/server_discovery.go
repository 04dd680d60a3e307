package rpc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/internal/discoverywire"
	"github.com/trunkline/trunkline/rpc/presence"
)

// Pong is the answer of a server to discovery.Ping.
type Pong struct {
	Service  string `json:"service"`
	Instance string `json:"instance"`
	Version  string `json:"version,omitempty"`
}

// ServiceInfo is the answer of a server to discovery.Info: what it is, and what it serves.
type ServiceInfo struct {
	Service     string            `json:"service"`
	Instance    string            `json:"instance"`
	Version     string            `json:"version,omitempty"`
	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Started     time.Time         `json:"started"`
	Topics      []string          `json:"topics"`
	Methods     []Method          `json:"methods"`
}

// ServiceStats is the answer of a server to discovery.Stats: its counts.
type ServiceStats struct {
	Service  string        `json:"service"`
	Instance string        `json:"instance"`
	Version  string        `json:"version,omitempty"`
	Started  time.Time     `json:"started"`
	Topics   []string      `json:"topics"`
	Total    ServerStats   `json:"total"`
	Methods  []MethodStats `json:"methods"`
}

type discoveryConfig struct {
	topic    bus.TopicSpec
	presence []presence.Option
}

// WithDiscovery makes the server discoverable. While it listens it announces itself (see
// package rpc/presence, which has the options), and it answers requests on the discovery
// topic (see package rpc/discovery). Its name is that of its [Service], or the first topic
// it listens on if it has none.
//
// The server creates both topics if they do not exist. If that fails, or if the broker is
// unavailable, it tries again in the background and serves calls meanwhile. By default a
// server is not discoverable.
func WithDiscovery(opts ...presence.Option) ServerOption {
	return forServer(func(c *serverConfig) error {
		if c.discovery == nil {
			c.discovery = &discoveryConfig{topic: bus.TopicSpec{Name: discoverywire.DefaultTopic, Partitions: 1}}
		}
		c.discovery.presence = append(c.discovery.presence, opts...)
		return nil
	})
}

// WithDiscoveryTopic is [WithDiscovery] with another discovery topic. discovery.Filter must
// name the same topic. An empty name means "trunkline.discovery", and 0 partitions mean 1.
func WithDiscoveryTopic(spec bus.TopicSpec) ServerOption {
	return forServer(func(c *serverConfig) error {
		spec.Name = cmp.Or(spec.Name, discoverywire.DefaultTopic)
		spec.Partitions = cmp.Or(spec.Partitions, 1)
		if c.discovery == nil {
			c.discovery = &discoveryConfig{}
		}
		c.discovery.topic = spec
		return nil
	})
}

// discovery announces a server, and answers requests on the discovery topic.
type discovery struct {
	server    *Server
	name      string
	announcer *presence.Announcer
	inner     *Server // answers on the discovery topic
	ctx       context.Context
	cancel    context.CancelFunc
	running   sync.WaitGroup

	mu     sync.Mutex
	topics []string // that the server listens on, sorted; a topic may occur twice
}

// startDiscovery starts the discovery of the server, if it is configured and not started
// yet. It returns an error if the announcement is too large. s.mu must be held.
func (s *Server) startDiscovery(topic string) error {
	if s.cfg.discovery == nil || s.discovery != nil {
		return nil
	}
	d := &discovery{server: s, name: s.service.Name}
	if d.name == "" {
		if d.name = topic; !validName(topic, maxServiceName) {
			d.name = "unnamed"
		}
	}
	inner, err := NewServer(s.bus, bus.NoGroup(), bus.Concurrency(4), WithInstance(s.id), WithReplayCache(0, 0), WithWire(s.cfg.wire),
		WithLogger(s.cfg.logger), WithAllowedReplyTopics(s.cfg.allowReplyTo))
	if err != nil {
		return err
	}
	d.inner = inner
	for _, err := range []error{
		Handle(inner, discoverywire.MethodPing, answering(d, func() *Pong { return &Pong{d.name, s.id, s.service.Version} })),
		Handle(inner, discoverywire.MethodInfo, answering(d, d.info)),
		Handle(inner, discoverywire.MethodStats, answering(d, d.stats)),
	} {
		if err != nil {
			return err
		}
	}
	opts := append([]presence.Option{presence.WithLogger(s.cfg.logger)}, s.cfg.discovery.presence...)
	d.announcer, err = presence.NewAnnouncer(s.bus, presence.Instance{Service: d.name, ID: s.id, Version: s.service.Version,
		Metadata: s.service.Metadata, Started: s.made}, opts...)
	if err != nil {
		return invalidOption("WithDiscovery: " + err.Error())
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	s.discovery = d
	d.running.Go(d.serve)
	return nil
}

// answering returns a handler that answers the requests that match this server.
func answering[Resp any](d *discovery, answer func() *Resp) func(context.Context, *discoverywire.Request) (*Resp, error) {
	return func(_ context.Context, r *discoverywire.Request) (*Resp, error) {
		if r.Service != "" && r.Service != d.name || r.Instance != "" && r.Instance != d.server.id {
			return nil, errDeclined
		}
		return answer(), nil
	}
}

// announceTopic announces a topic until its subscription ends.
func (d *discovery) announceTopic(topic string, sub *bus.Subscription) {
	d.announce(func(topics []string) []string { return append(topics, topic) })
	d.running.Go(func() {
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
		d.server.cfg.logger.Warn("rpc: the topics of the server cannot be announced", "error", err)
	}
}

func (d *discovery) served() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Compact(slices.Clone(d.topics))
}

// serve answers on the discovery topic until d.ctx ends or the bus is closed.
func (d *discovery) serve() {
	topic := d.server.cfg.discovery.topic
	backoff := RetryPolicy{}.withDefaults()
	for attempt := 1; ; attempt++ {
		preparing, cancel := context.WithTimeout(d.ctx, 30*time.Second)
		err := d.server.bus.EnsureTopic(preparing, topic)
		cancel()
		if err == nil {
			err = d.listen(topic.Name)
		}
		if d.ctx.Err() != nil || bus.CodeOf(err) == bus.CodeClosed {
			return
		}
		d.server.cfg.logger.Warn("rpc: the server cannot answer on the discovery topic, and tries again", "topic", topic.Name, "error", err)
		if !sleep(d.ctx, backoff.pause(min(attempt, 10))) {
			return
		}
	}
}

// listen answers on topic until the subscription ends.
func (d *discovery) listen(topic string) error {
	sub, err := d.inner.listen(d.ctx, topic)
	if err != nil {
		return err
	}
	<-sub.Done() // d.ctx ends it too
	if err := sub.Err(); err != nil {
		return err
	}
	return &bus.Error{Code: bus.CodeClosed, Op: "serve", Topic: topic, Reason: "the bus is closing"}
}

// close withdraws the announcement first, so that no further calls are sent here.
func (d *discovery) close(ctx context.Context) error {
	err := d.announcer.Shutdown(ctx)
	d.cancel()
	if innerErr := d.inner.Shutdown(ctx); err == nil {
		err = innerErr
	}
	d.running.Wait() // soon, because d.ctx has ended
	if bus.CodeOf(err) == bus.CodeClosed || errors.Is(err, errShutdown) {
		return nil // the bus is closed, so the announcement cannot be withdrawn
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
		info.Methods = append(info.Methods, Method{Name: m.Name, Description: m.Description, Request: m.Request, Response: m.Response})
	}
	slices.SortFunc(info.Methods, func(a, b Method) int { return cmp.Compare(a.Name, b.Name) })
	return info
}

func (d *discovery) stats() *ServiceStats {
	s := d.server
	return &ServiceStats{Service: d.name, Instance: s.id, Version: s.service.Version, Started: s.made, Topics: d.served(),
		Total: s.Stats(), Methods: s.MethodStats()}
}
