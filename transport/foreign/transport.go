package foreign

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

// Transport is a driver.Transport over a watermill Pub/Sub. All methods may be
// called from many goroutines at once. Make one with New; give it to bus.New, which
// closes it.
type Transport struct {
	pub  message.Publisher
	sub  message.Subscriber
	opts options

	connection connection

	// closing is closed when Close begins, closed when it has ended with closeErr.
	closing  chan struct{}
	closed   chan struct{}
	closeErr error

	mu       sync.Mutex
	isClosed bool
	sessions map[*session]struct{}
	lanes    map[string]*lane
	// calls counts what Close waits for: messages that wait for a turn or are being
	// published, topics that are being created. running holds the messages that are
	// being published, and is nil once Close has given up on them. drained is closed
	// when calls is 0 after Close has begun.
	calls   int
	running map[*handover]struct{}
	drained chan struct{}
}

var (
	_ driver.Transport = (*Transport)(nil)
	_ driver.Admin     = (*Transport)(nil)
)

// New makes a transport of pub and sub, which it owns from then on unless KeepOpen
// says otherwise. They may be one and the same value. It fails with InvalidArgument
// for an option or argument that is wrong, and leaves them open then.
func New(pub message.Publisher, sub message.Subscriber, opts ...Option) (*Transport, error) {
	o := options{
		caps:        driver.Capabilities{Name: "foreign", Keys: true, DirectAck: true},
		concurrency: defaultConcurrency,
	}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if o.caps.Ordered {
		o.concurrency = 1
	}
	if pub == nil || sub == nil {
		return nil, o.invalid("a publisher and a subscriber are needed, and one is nil")
	}
	if _, ok := sub.(message.SubscribeInitializer); o.caps.Topics && !ok {
		return nil, o.invalid("the subscriber has no SubscribeInitialize: leave CreatesTopics out")
	}
	return &Transport{
		pub: pub, sub: sub, opts: o,
		connection: connection{now: driver.Connection{State: driver.Connecting, Since: time.Now()}},
		closing:    make(chan struct{}), closed: make(chan struct{}), drained: make(chan struct{}),
		sessions: make(map[*session]struct{}), lanes: make(map[string]*lane), running: make(map[*handover]struct{}),
	}, nil
}

// Capabilities says what the options declared, and that keys are carried.
func (t *Transport) Capabilities() driver.Capabilities { return t.opts.caps }

// Subscribe begins to subscribe in the background. A group is Unsupported without
// GroupSubscriber, and so are partitions and a start that needs a log.
func (t *Transport) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	switch {
	case s.Topic == "":
		return nil, t.fail(driver.CodeInvalidArgument, "subscribe", "", "the topic is empty: name one", nil)
	case s.Group != "" && t.opts.group == nil:
		return nil, t.fail(driver.CodeUnsupported, "subscribe", s.Topic, "a watermill subscriber's group is fixed when it is made: declare GroupSubscriber", nil)
	case len(s.Partitions) > 0:
		return nil, t.fail(driver.CodeUnsupported, "subscribe", s.Topic, "there are no partitions to choose from: subscribe to the whole topic", nil)
	case s.Start.Kind == driver.StartAtOffset || s.Start.Kind == driver.StartAtTime:
		return nil, t.fail(driver.CodeUnsupported, "subscribe", s.Topic, "a watermill subscriber's start is fixed when it is made: start at the newest", nil)
	case ctx.Err() != nil:
		return nil, t.waitError("subscribe", s.Topic, ctx)
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

func (t *Transport) forget(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, s)
}

// Ready returns nil, or Closed after Close: there is nobody to ask.
func (t *Transport) Ready(context.Context) error {
	select {
	case <-t.closing:
		return t.closedError("ready", "")
	default:
		return nil
	}
}

// Ping is Unsupported: a watermill Pub/Sub can't be asked.
func (t *Transport) Ping(context.Context) error {
	return t.fail(driver.CodeUnsupported, "ping", "", "a watermill Pub/Sub can't be asked whether its broker is there: watch outcomes", nil)
}

// Observe tells that it is Connecting, and once that it is Connected.
func (t *Transport) Observe(observe func(driver.Connection)) { t.connection.register(observe) }

// CreateTopic calls the subscriber's SubscribeInitialize, which does nothing for a
// topic that is there: it is never AlreadyExists. What spec says beyond the name is
// Unsupported. A SubscribeInitialize that is under way when ctx ends goes on.
func (t *Transport) CreateTopic(ctx context.Context, spec driver.TopicSpec) error {
	initializer, ok := t.sub.(message.SubscribeInitializer)
	switch {
	case !t.opts.caps.Topics || !ok:
		return t.noAdmin("create topic", spec.Name)
	case spec.Name == "":
		return t.fail(driver.CodeInvalidArgument, "create topic", "", "the topic is empty: name one", nil)
	case spec.Partitions > 1 || spec.ReplicationFactor > 1 || len(spec.Config) > 0:
		return t.fail(driver.CodeUnsupported, "create topic", spec.Name, "SubscribeInitialize takes a name only: configure the subscriber instead", nil)
	case ctx.Err() != nil:
		return t.waitError("create topic", spec.Name, ctx)
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
			return t.fail(codeOf(err), "create topic", spec.Name, "", err)
		}
		return nil
	case <-ctx.Done():
		return t.fail(driver.CodeOutcomeUnknown, "create topic", spec.Name, "the wait ended before SubscribeInitialize did", ctx.Err())
	}
}

// DeleteTopic is Unsupported.
func (t *Transport) DeleteTopic(_ context.Context, topic string) error {
	return t.noAdmin("delete topic", topic)
}

// DescribeTopic is Unsupported.
func (t *Transport) DescribeTopic(_ context.Context, topic string) (driver.TopicInfo, error) {
	return driver.TopicInfo{}, t.noAdmin("describe topic", topic)
}

// ListTopics is Unsupported.
func (t *Transport) ListTopics(context.Context) ([]string, error) {
	return nil, t.noAdmin("list topics", "")
}

// Close completes messages that wait for their turn with Closed, waits for those
// that are being published, closes the sessions, and then publisher and subscriber.
// When ctx ends the messages that are still being published get OutcomeUnknown, and
// what is still blocked inside the Pub/Sub is left behind.
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
			return t.waitError("close", "", ctx)
		}
	}
	t.closeErr = t.shutdown(ctx)
	close(t.closed)
	return t.closeErr
}

func (t *Transport) shutdown(ctx context.Context) error {
	select {
	case <-t.drained:
	case <-ctx.Done():
		t.abandon()
	}
	t.mu.Lock()
	sessions := t.sessions
	t.sessions = nil
	t.mu.Unlock()
	var closing sync.WaitGroup
	for s := range sessions {
		closing.Go(func() { _ = s.Close(ctx) }) // its only error is ctx's, told below
	}
	closing.Wait()
	t.connection.stop()
	if t.opts.keepOpen {
		return t.ended(ctx, nil)
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(t.pub.Close(), t.sub.Close()) }()
	select {
	case err := <-done:
		return t.ended(ctx, err)
	case <-ctx.Done():
		return t.ended(ctx, nil)
	}
}

func (t *Transport) ended(ctx context.Context, err error) error {
	switch {
	case err != nil:
		return t.fail(codeOf(err), "close", "", "", err)
	case ctx.Err() != nil:
		return t.waitError("close", "", ctx)
	default:
		return nil
	}
}

// abandon tells those that wait for a publish under way that its outcome is unknown.
func (t *Transport) abandon() {
	t.mu.Lock()
	left := t.running
	t.running = nil
	t.mu.Unlock()
	for h := range left {
		h.unknown("the transport was closed while it was being published", nil)
	}
}

// beginLocked counts a call in; false when Close has begun.
func (t *Transport) beginLocked() bool {
	if t.isClosed {
		return false
	}
	t.calls++
	return true
}

func (t *Transport) finishLocked() {
	if t.calls--; t.calls == 0 && t.isClosed {
		close(t.drained)
	}
}
