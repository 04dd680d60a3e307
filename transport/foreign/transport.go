package foreign

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// Transport is a [driver.Transport] on a watermill Pub/Sub. All methods are safe for
// concurrent use. Pass it to bus.New, whose bus closes it.
type Transport struct {
	pub  message.Publisher
	sub  message.Subscriber
	opts options

	connection connection

	// closing is closed when Close begins. closed is closed when Close has set closeErr.
	closing  chan struct{}
	closed   chan struct{}
	closeErr error

	mu       sync.Mutex
	isClosed bool
	sessions map[*session]struct{}
	limiters map[string]*topicLimiter
	// calls is the number of operations that Close waits for: messages that wait for a
	// slot or are being published, and topics that are being created. running contains the
	// running calls of the publisher. It is nil once Close has abandoned them. drained is
	// closed when Close has begun and calls is 0.
	calls   int
	running map[*publishCall]struct{}
	drained chan struct{}
}

var (
	_ driver.Transport = (*Transport)(nil)
	_ driver.Admin     = (*Transport)(nil)
)

// New returns a transport that uses pub and sub. They can be the same value. The transport
// owns them and closes them, unless [WithKeepOpen] is given. New returns an
// InvalidArgument error if an argument or an option is invalid; pub and sub then stay
// open. The caller must close the transport, or pass it to bus.New, whose bus closes it.
func New(pub message.Publisher, sub message.Subscriber, opts ...Option) (*Transport, error) {
	o := options{
		caps:               driver.Capabilities{Name: "foreign", Keys: true, DirectAck: true},
		publishConcurrency: defaultConcurrency,
	}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if o.caps.Ordered {
		o.publishConcurrency = 1
	}
	if pub == nil || sub == nil {
		return nil, o.invalid("the publisher or the subscriber is nil: pass both")
	}
	if _, ok := sub.(message.SubscribeInitializer); o.caps.Topics && !ok {
		return nil, o.invalid("the subscriber has no method SubscribeInitialize: leave WithTopicCreation out")
	}
	return &Transport{
		pub: pub, sub: sub, opts: o,
		connection: connection{current: driver.Connection{State: driver.Connecting, Since: time.Now()}},
		closing:    make(chan struct{}), closed: make(chan struct{}), drained: make(chan struct{}),
		sessions: make(map[*session]struct{}), limiters: make(map[string]*topicLimiter), running: make(map[*publishCall]struct{}),
	}, nil
}

// Capabilities returns what the options declared. Keys are always supported.
func (t *Transport) Capabilities() driver.Capabilities { return t.opts.caps }

// Subscribe starts to subscribe in the background. It returns Unsupported for a group
// without [WithGroupSubscriber], for partitions, and for a start at an offset or a time.
func (t *Transport) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	switch {
	case s.Topic == "":
		return nil, t.newError(driver.CodeInvalidArgument, "subscribe", "", "the topic is empty: name one", nil)
	case s.Group != "" && t.opts.openGroup == nil:
		return nil, t.newError(driver.CodeUnsupported, "subscribe", s.Topic, "the group of a watermill subscriber is fixed when it is made: use WithGroupSubscriber", nil)
	case len(s.Partitions) > 0:
		return nil, t.newError(driver.CodeUnsupported, "subscribe", s.Topic, "there are no partitions: subscribe to the whole topic", nil)
	case s.Start.Kind == driver.StartAtOffset || s.Start.Kind == driver.StartAtTime:
		return nil, t.newError(driver.CodeUnsupported, "subscribe", s.Topic, "the start of a watermill subscriber is fixed when it is made: start at the newest", nil)
	case ctx.Err() != nil:
		return nil, t.contextError("subscribe", s.Topic, ctx)
	}
	session := newSession(t, s)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isClosed {
		return nil, t.closedError("subscribe", s.Topic)
	}
	t.sessions[session] = struct{}{}
	session.opener.Go(session.open)
	return session, nil
}

func (t *Transport) remove(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, s)
}

// Ready returns nil at once, or Closed after Close. A Pub/Sub cannot report its connection.
func (t *Transport) Ready(context.Context) error {
	select {
	case <-t.closing:
		return t.closedError("ready", "")
	default:
		return nil
	}
}

// Ping returns Unsupported, because a watermill Pub/Sub cannot report its connection.
func (t *Transport) Ping(context.Context) error {
	return t.newError(driver.CodeUnsupported, "ping", "", "a watermill Pub/Sub cannot report whether its broker is available: observe outcomes instead", nil)
}

// Observe implements [driver.Transport]. The observer receives Connecting, and Connected after
// the first publish or delivery that succeeds.
func (t *Transport) Observe(observer func(driver.Connection)) { t.connection.observe(observer) }

// CreateTopic calls SubscribeInitialize of the subscriber. That does nothing if the topic
// exists, so CreateTopic never returns AlreadyExists. It returns Unsupported without
// [WithTopicCreation], and if spec has more than a name. If ctx ends first, CreateTopic
// returns OutcomeUnknown, and SubscribeInitialize continues in the background.
func (t *Transport) CreateTopic(ctx context.Context, spec driver.TopicSpec) error {
	initializer, ok := t.sub.(message.SubscribeInitializer)
	switch {
	case !t.opts.caps.Topics || !ok:
		return t.noAdminError("create topic", spec.Name)
	case spec.Name == "":
		return t.newError(driver.CodeInvalidArgument, "create topic", "", "the topic is empty: name one", nil)
	case spec.Partitions > 1 || spec.ReplicationFactor > 1 || len(spec.Config) > 0:
		return t.newError(driver.CodeUnsupported, "create topic", spec.Name, "SubscribeInitialize accepts only a name: configure the subscriber instead", nil)
	case ctx.Err() != nil:
		return t.contextError("create topic", spec.Name, ctx)
	}
	t.mu.Lock()
	began := t.beginLocked()
	t.mu.Unlock()
	if !began {
		return t.closedError("create topic", spec.Name)
	}
	done := make(chan error, 1)
	go func() {
		done <- initializer.SubscribeInitialize(spec.Name)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.finishLocked()
	}()
	select {
	case err := <-done:
		if err != nil {
			return t.newError(codeOf(err), "create topic", spec.Name, "", err)
		}
		return nil
	case <-ctx.Done():
		return t.newError(driver.CodeOutcomeUnknown, "create topic", spec.Name, "the context ended before SubscribeInitialize returned", ctx.Err())
	}
}

// DeleteTopic returns Unsupported.
func (t *Transport) DeleteTopic(_ context.Context, topic string) error {
	return t.noAdminError("delete topic", topic)
}

// DescribeTopic returns Unsupported.
func (t *Transport) DescribeTopic(_ context.Context, topic string) (driver.TopicInfo, error) {
	return driver.TopicInfo{}, t.noAdminError("describe topic", topic)
}

// ListTopics returns Unsupported.
func (t *Transport) ListTopics(context.Context) ([]string, error) {
	return nil, t.noAdminError("list topics", "")
}

// Close completes the messages that wait for a slot with Closed, and waits for those that
// are being published. Then it closes the sessions, the publisher and the subscriber. If
// ctx ends first, the messages that are still being published get OutcomeUnknown, and
// goroutines that are blocked inside the Pub/Sub are abandoned. Later calls wait for the
// first and return its result.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	first := !t.isClosed
	t.isClosed = true
	if first {
		close(t.closing)
		if t.calls == 0 {
			close(t.drained)
		}
	}
	t.mu.Unlock()
	if !first {
		select {
		case <-t.closed:
			return t.closeErr
		case <-ctx.Done():
			return t.contextError("close", "", ctx)
		}
	}
	t.closeErr = t.closeAll(ctx)
	close(t.closed)
	return t.closeErr
}

func (t *Transport) closeAll(ctx context.Context) error {
	select {
	case <-t.drained:
	case <-ctx.Done():
		t.abandon()
	}
	t.mu.Lock()
	sessions := t.sessions
	t.sessions = nil
	t.mu.Unlock()
	errs := make([]error, 0, len(sessions)+1)
	results := make(chan error, len(sessions))
	for s := range sessions {
		go func() { results <- s.Close(ctx) }()
	}
	for range sessions {
		errs = append(errs, <-results)
	}
	t.connection.stop()
	if !t.opts.keepOpen {
		done := make(chan error, 1)
		go func() { done <- errors.Join(t.pub.Close(), t.sub.Close()) }()
		select {
		case err := <-done:
			errs = append(errs, err)
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return t.contextError("close", "", ctx)
	}
	if err := errors.Join(errs...); err != nil {
		return t.newError(codeOf(err), "close", "", "", err)
	}
	return nil
}

// abandon completes the messages that are still being published with OutcomeUnknown.
func (t *Transport) abandon() {
	t.mu.Lock()
	abandoned := t.running
	t.running = nil
	t.mu.Unlock()
	for c := range abandoned {
		c.completeUnknown("the transport was closed while the message was being published", nil)
	}
}

// beginLocked counts a new operation. It returns false if Close has begun.
func (t *Transport) beginLocked() bool {
	if t.isClosed {
		return false
	}
	t.calls++
	return true
}

// finishLocked undoes beginLocked.
func (t *Transport) finishLocked() {
	if t.calls--; t.calls == 0 && t.isClosed {
		close(t.drained)
	}
}
