package rpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
)

// Server answers calls. Make it, register methods with [Handle], start it. All
// methods are safe for concurrent use.
type Server struct {
	bus      *bus.Bus
	cfg      serverConfig
	cache    *replayCache
	counters serverCounters
	replies  sync.Pool // of *outgoingReply

	// replying ends when replies are not waited for any more. Under it no topic is created:
	// a late reply must not bring a deleted one back.
	replying    context.Context
	stopReplies context.CancelCauseFunc

	mu      sync.Mutex
	methods map[string]Func // does not change once started
	invalid error           // of registrations, for Start
	started bool
	closed  bool
	subs    []*bus.Subscription
}

// NewServer returns a server on b, which it does not take over: shut the server
// down first.
func NewServer(b *bus.Bus, opts ...ServerOption) (*Server, error) {
	if b == nil {
		return nil, invalidOption("the bus is nil")
	}
	cfg := serverConfig{config: defaultConfig(), concurrency: 64, replay: 4096, replayBytes: 64 << 20, replyTo: isReplyTopic}
	for _, o := range opts {
		if err := o.applyServer(&cfg); err != nil {
			return nil, err
		}
	}
	if cfg.window == 0 {
		cfg.window = max(64, cfg.concurrency)
	}
	s := &Server{bus: b, cfg: cfg, cache: newReplayCache(cfg.replay, cfg.replayBytes), methods: map[string]Func{}}
	s.replying, s.stopReplies = context.WithCancelCause(bus.ExistingTopic(context.Background()))
	return s, nil
}

func isReplyTopic(topic string) bool {
	return len(topic) > len(replyPrefix) && topic[:len(replyPrefix)] == replyPrefix
}

// Start begins to answer the calls that come on topic, and returns the subscription,
// whose Ready waits until it does. It does not wait for a broker, and does not create
// the topic. It may be called for several topics; all methods are served on each.
//
// The subscription lives until Shutdown, which is graceful, until ctx ends, which
// ends the handlers' contexts too, or until a final error, which its Err tells.
func (s *Server) Start(ctx context.Context, topic string) (*bus.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errShutdown
	case s.invalid != nil:
		return nil, s.invalid
	}
	sub, err := s.bus.Consume(ctx, topic, s.deliver, s.subscribeOptions(topic)...)
	if err != nil {
		return nil, newError(publishError(err).Code(), "can't serve "+topic+": "+err.Error(), err)
	}
	s.started = true
	s.subs = append(s.subs, sub)
	return sub, nil
}

var errShutdown = &Error{st: newError(codes.Unavailable, "the server is shut down", nil).st, terminal: true}

// subscribeOptions are what the transport can do of what the server wants.
func (s *Server) subscribeOptions(topic string) []bus.SubscribeOption {
	caps := s.bus.Capabilities()
	opts := []bus.SubscribeOption{bus.Concurrency(s.cfg.concurrency), bus.Window(s.cfg.window)}
	switch {
	case s.cfg.group != "":
		opts = append(opts, bus.Group(s.cfg.group))
	case caps.Groups:
		opts = append(opts, bus.Group("trunkline.rpc."+topic))
	}
	switch {
	case s.cfg.unordered || !caps.Ordered:
		opts = append(opts, bus.Unordered())
	case caps.Keys:
		opts = append(opts, bus.OrderByKey())
	default:
		opts = append(opts, bus.OrderByPartition())
	}
	if s.cfg.deadLetter != "" {
		opts = append(opts, bus.DeadLetterTopic(s.cfg.deadLetter))
	}
	return opts
}

// Serve is Start, followed by Shutdown with ten seconds when ctx ends: then it
// returns nil, or what Shutdown failed with. It also returns when the subscription
// ends by itself, with the reason. Other topics of this server are shut down too.
func (s *Server) Serve(ctx context.Context, topic string) error {
	sub, err := s.Start(context.WithoutCancel(ctx), topic)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return s.Shutdown(bounded)
	case <-sub.Done():
		if err := sub.Err(); err != nil {
			return newError(publishError(err).Code(), "serving "+topic+" ended: "+err.Error(), err)
		}
		return nil
	}
}

// Ready waits until every topic that was started is being read, or ctx ends: then it
// says why not. A request that is sent after Ready is read.
func (s *Server) Ready(ctx context.Context) error {
	s.mu.Lock()
	subs := s.subs
	s.mu.Unlock()
	if len(subs) == 0 {
		return newError(codes.FailedPrecondition, "the server has not been started", nil)
	}
	for _, sub := range subs {
		if err := sub.Ready(ctx); err != nil {
			return newError(publishError(err).Code(), "not ready: "+err.Error(), err)
		}
	}
	return nil
}

// Shutdown takes no more requests, and waits for the handlers that run and for
// their replies to be acknowledged. What was fetched and not begun is left to be
// delivered again. When ctx ends first the handlers' contexts end, replies are not
// waited for any more, and the error says so: those requests will be delivered
// again. It is idempotent: a later call waits as the first does.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	subs := s.subs
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { s.stopReplies(errShutdown) })
	defer stop()
	errs := make([]error, len(subs))
	var all sync.WaitGroup
	for i, sub := range subs {
		all.Go(func() { errs[i] = sub.Close(ctx) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return newError(codes.DeadlineExceeded, "the server did not end in time: "+err.Error(), err)
	}
	s.stopReplies(errShutdown)
	return nil
}
