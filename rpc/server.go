package rpc

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Server answers calls. Make it, register methods with [Handle], start it. All
// methods are safe for concurrent use.
type Server struct {
	bus      *bus.Bus
	cfg      serverConfig
	id       string // "<name>.<instance>", unique unless Instance says otherwise
	made     time.Time
	cache    *replayCache
	counters serverCounters
	replies  sync.Pool // of *outgoingReply
	waiting  waitingReplies
	later    bool // outcomes of replies are waited for without a goroutine

	// stopping is closed when nothing is begun any more.
	stopping chan struct{}

	// replying ends when replies are not waited for any more. Under it no topic is created:
	// a late reply must not bring a deleted one back.
	replying    context.Context
	stopReplies context.CancelCauseFunc

	mu        sync.Mutex
	service   Service            // as registered; does not change once started
	methods   map[string]*method // does not change once started
	invalid   error              // of registrations, for Start
	started   bool
	closed    bool
	subs      []*bus.Subscription
	discovery *discovery // nil unless Discoverable
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
	if cfg.broadcast && cfg.group != "" {
		return nil, invalidOption("Broadcast and Group contradict each other: leave one out")
	}
	if cfg.window == 0 {
		cfg.window = 64 + cfg.concurrency
	}
	if cfg.instance == "" {
		cfg.instance = "server." + strings.ToLower(rand.Text())
	}
	s := &Server{bus: b, cfg: cfg, id: cfg.instance, made: time.Now(), cache: newReplayCache(cfg.replay, cfg.replayBytes),
		methods: map[string]*method{}, stopping: make(chan struct{})}
	s.replying, s.stopReplies = context.WithCancelCause(delivery.ExistingTopic(context.Background()))
	context.AfterFunc(s.replying, s.giveUp)
	s.later = !cfg.atMostOnce && !s.byPartition()
	return s, nil
}

// ID returns the id of this instance, see [Instance].
func (s *Server) ID() string { return s.id }

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
	if err := s.discover(topic); err != nil {
		return nil, err
	}
	slots := make(chan struct{}, s.cfg.concurrency)
	deliver := func(ctx context.Context, d *bus.Delivery) error { return s.deliver(ctx, d, nil, slots) }
	opts := s.subscribeOptions(topic)
	if s.later {
		opts = append(opts, delivery.SettleLater(func(ctx context.Context, it *delivery.Item) error {
			return s.deliver(ctx, (*bus.Delivery)(it.Delivery()), it, slots)
		}))
	}
	sub, err := s.bus.Consume(ctx, topic, deliver, opts...)
	if err != nil {
		return nil, newError(publishError(err).Code(), "can't serve "+topic+": "+err.Error(), err)
	}
	s.started = true
	s.subs = append(s.subs, sub)
	if s.discovery != nil {
		s.discovery.serves(topic, sub)
	}
	return sub, nil
}

var errShutdown = &Error{st: newError(codes.Unavailable, "the server is shut down", nil).st, terminal: true}

// subscribeOptions are what the transport can do of what the server wants.
func (s *Server) subscribeOptions(topic string) []bus.SubscribeOption {
	caps := s.bus.Capabilities()
	opts := []bus.SubscribeOption{bus.Window(s.cfg.window), delivery.Reuse(),
		// What fails is the publishing of a reply, which is in the cache: try again soon.
		bus.Backoff(50*time.Millisecond, time.Second)}
	if !s.cfg.leaveOnStop || !s.redelivered() {
		opts = append(opts, delivery.DrainFetched())
	}
	if s.cfg.atMostOnce {
		opts = append(opts, bus.AtMostOnce())
	}
	switch {
	case s.cfg.broadcast:
		opts = append(opts, bus.NoGroup(), bus.FromNewest())
	case s.cfg.group != "":
		opts = append(opts, bus.Group(s.cfg.group))
	case caps.Groups:
		opts = append(opts, bus.Group("trunkline.rpc."+topic))
	}
	switch {
	case s.cfg.unordered || !caps.Ordered:
		opts = append(opts, bus.Unordered())
	case s.byPartition():
		opts = append(opts, bus.OrderByPartition())
	default:
		opts = append(opts, bus.OrderByKey())
	}
	if s.cfg.deadLetter != "" {
		opts = append(opts, bus.DeadLetterTopic(s.cfg.deadLetter))
	}
	return opts
}

// byPartition says whether requests are answered in the order of their partition: where a
// transport keeps that order and knows no keys.
func (s *Server) byPartition() bool {
	caps := s.bus.Capabilities()
	return !s.cfg.unordered && caps.Ordered && !caps.Keys
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

// Shutdown is graceful: it takes no more requests, and waits for the handlers that
// run and for their replies to be acknowledged. What was fetched and not begun is
// answered Unavailable, which says that it did not run, and so is what is cut off when
// ctx is about to end: then the handlers' contexts end, and the error says so.
// Requests that want no reply, and with [LeaveOnStop] all that are left, stay
// unacknowledged: they are delivered again, where the transport does that. It is
// idempotent: a later call waits as the first does.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stopping)
	}
	subs, discovery := s.subs, s.discovery
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { s.stopReplies(errShutdown) })
	defer stop()
	errs := make([]error, len(subs))
	var all sync.WaitGroup
	for i, sub := range subs {
		all.Go(func() { errs[i] = sub.Shutdown(ctx) })
	}
	var told error
	if discovery != nil {
		all.Go(func() { told = discovery.close(ctx) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return newError(codes.DeadlineExceeded, "the server did not end in time: "+err.Error(), err)
	}
	s.stopReplies(errShutdown)
	if told != nil {
		return newError(codes.DeadlineExceeded, "the server ended, and could not take back its announcement: "+told.Error(), told)
	}
	return nil
}
