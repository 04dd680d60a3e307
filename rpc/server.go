package rpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/rpc/internal/replay"
)

// Server answers calls. Make it with [NewServer], register methods with [Handle] or
// Register, and call Listen for each topic to serve. Then call Run, or Shutdown when the
// server is no longer needed. All methods are safe for concurrent use.
type Server struct {
	bus      *bus.Bus
	cfg      *serverConfig
	id       string // see WithInstance
	made     time.Time
	cache    *replay.Cache
	counters serverCounters
	reusable sync.Pool // of *pendingReply
	pending  pendingReplies
	// subscription has the settings of all subscriptions, except for topic and group name.
	subscription subscription

	// stopping is closed when no further handler may start.
	stopping chan struct{}

	// replying is the context for publishing replies. It ends when the server stops waiting
	// for their outcomes. It forbids creating topics, so a late reply does not recreate a
	// deleted reply topic.
	replying    context.Context
	stopReplies context.CancelCauseFunc

	// ended is closed when a subscription has ended before Shutdown was called. endErr is
	// the reason, or nil if the bus is closing.
	ended   chan struct{}
	endOnce sync.Once
	endErr  error

	mu        sync.Mutex
	service   Service            // as registered; fixed after the first Listen
	methods   map[string]*method // fixed after the first Listen
	invalid   error              // of registrations; Listen returns it
	listening bool
	closed    bool
	subs      []*bus.Subscription
	discovery *discovery // nil without WithDiscovery
}

// NewServer returns a server on b. The server does not own b: shut the server down first.
// NewServer does not wait for a broker.
//
// The options are those of this package, and the subscription options of package bus, which
// apply to the subscription of each topic:
//
//	s, err := rpc.NewServer(b, bus.Group("billing"), bus.Concurrency(8))
//
// On a server they have these defaults and meanings:
//
//   - bus.Group: the default is "trunkline.rpc." followed by the topic, on transports with
//     groups. The servers of a group share the requests.
//   - bus.NoGroup: every server reads every request, from the time when it is ready. Use it
//     for requests that every server answers; see [Gather].
//   - bus.Concurrency bounds the handlers that run at once for each topic. The default is 64.
//     Replies that are being published do not count.
//   - bus.Window limits the requests of a partition that are fetched and not acknowledged.
//     They may be running, waiting for another handler because of Concurrency or their key,
//     or waiting for their replies to be published. The default is 64 more than
//     Concurrency. A window that is not larger than Concurrency delays cancel messages.
//   - bus.OrderByKey is the default on a transport that keeps order and has keys. Without
//     keys the default is bus.OrderByPartition, and without order bus.Unordered.
//   - bus.DeadLetterTopic is the topic for messages that cannot be decoded as requests. By
//     default the server acknowledges, counts and logs them.
//   - bus.AtMostOnce acknowledges and commits a request before its handler runs, so the
//     transport never makes it run twice. If the server then crashes, the request is lost,
//     and its caller waits until its deadline; a reply that cannot be published is lost too.
//     Retries of the client are still answered from the replay cache. The default is at
//     least once.
//   - bus.BatchSize and bus.BatchAge are not supported.
func NewServer(b *bus.Bus, opts ...ServerOption) (*Server, error) {
	if b == nil {
		return nil, invalidOption("NewServer: the bus must not be nil")
	}
	cfg, err := newServerConfig(b, opts)
	if err != nil {
		return nil, err
	}
	s := &Server{bus: b, cfg: cfg, id: cfg.instance, made: time.Now(), cache: replay.New(cfg.replay, cfg.replayBytes),
		methods: map[string]*method{}, stopping: make(chan struct{}), ended: make(chan struct{})}
	if err := s.resolveSubscription(); err != nil {
		return nil, err
	}
	s.replying, s.stopReplies = context.WithCancelCause(delivery.ExistingTopic(context.Background()))
	context.AfterFunc(s.replying, s.abandonReplies)
	return s, nil
}

// ID returns the id of this server; see [WithInstance].
func (s *Server) ID() string { return s.id }

// Listen starts to answer the calls on topic. It returns at once: it does not wait for a
// broker, and does not create the topic (see bus.EnsureTopic). Ready waits until the server
// reads the topic. Call Listen once for each topic; the server serves all its methods on
// each. Listen returns an error if a registration has failed, if the server is shut down,
// or if the transport does not support an option.
func (s *Server) Listen(topic string) error {
	_, err := s.listen(context.Background(), topic)
	return err
}

// listen is like Listen. When ctx ends, the subscription and the contexts of its handlers
// end.
func (s *Server) listen(ctx context.Context, topic string) (*bus.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errShutdown
	case s.invalid != nil:
		return nil, s.invalid
	}
	if err := s.startDiscovery(topic); err != nil {
		return nil, err
	}
	slots := make(chan struct{}, s.subscription.concurrency)
	deliver := func(ctx context.Context, d *bus.Delivery) error { return s.deliver(ctx, d, nil, slots) }
	opts := s.subscribeOptions(topic)
	if s.subscription.settleLater {
		opts = append(opts, delivery.SettleLater(func(ctx context.Context, item *delivery.Item) error {
			return s.deliver(ctx, (*bus.Delivery)(item.Delivery()), item, slots)
		}))
	}
	sub, err := s.bus.Consume(ctx, topic, deliver, opts...)
	if err != nil {
		return nil, busError("listen on "+topic+": ", err)
	}
	s.listening = true
	s.subs = append(s.subs, sub)
	if s.discovery != nil {
		s.discovery.announceTopic(topic, sub)
	}
	go s.watch(topic, sub) // ends with sub
	return sub, nil
}

var errShutdown = permanentError(codes.Unavailable, "the server is shut down")

// watch waits for the end of sub, and reports it to Run.
func (s *Server) watch(topic string, sub *bus.Subscription) {
	<-sub.Done()
	if s.isStopping() {
		return
	}
	s.endOnce.Do(func() {
		if err := sub.Err(); err != nil {
			s.endErr = busError("the server stopped listening on "+topic+": ", err)
		}
		close(s.ended)
	})
}

// Ready waits until the server reads every topic that it listens on. The server reads every
// request that is sent after that. If ctx ends first, the error of Ready has the reason.
// Ready returns an error with codes.FailedPrecondition if Listen was not called.
func (s *Server) Ready(ctx context.Context) error {
	s.mu.Lock()
	subs := s.subs
	s.mu.Unlock()
	if len(subs) == 0 {
		return errNotListening
	}
	for _, sub := range subs {
		if err := sub.Ready(ctx); err != nil {
			return busError("the server is not ready: ", err)
		}
	}
	return nil
}

var errNotListening = newError(codes.FailedPrecondition, "the server listens on no topic: call Listen first", nil)

// Run serves the topics of Listen until ctx ends, and then shuts the server down as Close
// does. It returns nil after a graceful end. Run also shuts down and returns when Shutdown
// was called, when the bus is closed, and when a subscription has failed permanently. After
// such a failure it returns the reason. It returns an error with codes.FailedPrecondition
// if Listen was not called.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	idle := !s.listening && !s.closed
	s.mu.Unlock()
	if idle {
		return errNotListening
	}
	var ended error
	select {
	case <-ctx.Done():
	case <-s.stopping:
	case <-s.ended:
		ended = s.endErr
	}
	return errors.Join(ended, s.Close())
}

// Shutdown stops the server gracefully. The server reads no further requests, waits for the
// running handlers, and waits until the transport's log has their replies. It answers the
// requests that it has fetched and not started with codes.Unavailable. The message of that
// error states that the request was not run.
//
// When ctx ends, Shutdown ends the contexts of the running handlers, answers their
// requests with codes.Unavailable as well, and returns an error.
//
// One-way requests that were not run, and with [WithLeaveOnShutdown] all requests that were
// not finished, stay unacknowledged: the transport delivers them again, if it can. Further
// calls of Shutdown wait in the same way.
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
	var discoveryErr error
	if discovery != nil {
		all.Go(func() { discoveryErr = discovery.close(ctx) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return newError(codes.DeadlineExceeded, "the server did not shut down in time: "+err.Error(), err)
	}
	s.stopReplies(errShutdown)
	if discoveryErr != nil {
		return newError(codes.DeadlineExceeded, "the server is shut down, but its announcement remains until it expires: "+discoveryErr.Error(), discoveryErr)
	}
	return nil
}

// Close is Shutdown with the bound of [WithCloseTimeout].
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}
