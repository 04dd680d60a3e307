package foreign

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus/driver"
)

const (
	// Bounds of the pause between two attempts to subscribe.
	minPause = 100 * time.Millisecond
	maxPause = 10 * time.Second
	// ackTimeout bounds how long Close waits for the subscriber to process the last Ack.
	ackTimeout = 250 * time.Millisecond
	// drainTimeout bounds how long Close waits for the subscriber to close its channel.
	drainTimeout = time.Second
)

// session is a subscription, and the only partition of that subscription.
type session struct {
	transport *Transport
	spec      driver.Subscription

	// ctx is the context of the watermill subscription. It ends when the session ends, with
	// the reason as its cause.
	ctx context.Context
	end context.CancelCauseFunc
	// opener is the goroutine that subscribes. It sends the result of each attempt to
	// attempts. It sets sub and messages before it sends a nil result.
	opener   sync.WaitGroup
	attempts chan error
	sub      message.Subscriber
	messages <-chan *message.Message

	assigned bool  // used only by the goroutine that calls Next
	offset   int64 // used only by the goroutine that calls Fetch

	mu       sync.Mutex
	unacked  []delivery
	acked    *message.Message // the last message that was acked
	released bool

	closeOnce sync.Once
	closed    chan struct{}
	closeErr  error
}

// delivery is a watermill message that is not acknowledged yet.
type delivery struct {
	offset  int64
	message *message.Message
}

var (
	_ driver.Session   = (*session)(nil)
	_ driver.Partition = (*partition)(nil)
)

func newSession(t *Transport, spec driver.Subscription) *session {
	spec.MaxFetch = max(1, spec.MaxFetch)
	s := &session{transport: t, spec: spec, attempts: make(chan error), closed: make(chan struct{})}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	return s
}

// open subscribes. It retries until it succeeds, or the error is permanent.
func (s *session) open() {
	pause := minPause
	for {
		err := s.subscribe()
		select {
		case s.attempts <- err:
		case <-s.ctx.Done():
			return
		}
		if err == nil || permanent(err) {
			return
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, maxPause)
	}
}

func (s *session) subscribe() error {
	if s.sub == nil {
		if s.spec.Group == "" {
			s.sub = s.transport.sub
		} else {
			sub, err := s.transport.opts.openGroup(s.spec.Group)
			if err != nil {
				return err
			}
			if sub == nil {
				return s.transport.newError(driver.CodeInvalidArgument, "subscribe", s.spec.Topic, "the function of WithGroupSubscriber returned a nil subscriber", nil)
			}
			s.sub = sub
		}
	}
	messages, err := s.sub.Subscribe(s.ctx, s.spec.Topic)
	if err != nil {
		return err
	}
	s.messages = messages
	return nil
}

// Next returns an event for each attempt to subscribe that failed, and the partition when an
// attempt succeeds.
func (s *session) Next(ctx context.Context) (driver.Event, error) {
	if s.ctx.Err() != nil {
		return driver.Event{}, s.cause()
	}
	attempts := s.attempts
	if s.assigned {
		attempts = nil
	}
	select {
	case err := <-attempts:
		switch {
		case err == nil:
			s.assigned = true
			return driver.Event{Assigned: true, Added: []driver.Partition{&partition{s}}}, nil
		case permanent(err):
			s.end(s.transport.newError(codeOf(err), "subscribe", s.spec.Topic, "", err))
			return driver.Event{}, s.cause()
		default:
			return driver.Event{Cause: s.transport.newError(driver.CodeUnavailable, "subscribe", s.spec.Topic, "the subscriber returned an error, and the transport retries", err)}, nil
		}
	case <-ctx.Done():
		return driver.Event{}, s.transport.contextError("next", s.spec.Topic, ctx)
	case <-s.ctx.Done():
		return driver.Event{}, s.cause()
	}
}

// cause returns why the session has ended.
func (s *session) cause() error { return context.Cause(s.ctx) }

// Close nacks the messages that are not acknowledged, and ends the watermill subscription.
func (s *session) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		s.closeErr = s.close(ctx)
		s.transport.remove(s)
		close(s.closed)
	})
	select {
	case <-s.closed:
		return s.closeErr
	case <-ctx.Done():
		return s.transport.contextError("close", s.spec.Topic, ctx)
	}
}

func (s *session) close(ctx context.Context) error {
	s.release()
	s.waitForLastAck(ctx)
	s.end(s.transport.newError(driver.CodeClosed, "subscribe", s.spec.Topic, "the subscription is closed", nil))
	drained := make(chan error, 1)
	go func() { drained <- s.drainAndClose() }()
	select {
	case err := <-drained:
		return err
	case <-ctx.Done():
		return s.transport.contextError("close", s.spec.Topic, ctx)
	}
}

// waitForLastAck waits until the subscriber has processed the last Ack, which it shows by
// ending the context of the message. Otherwise the subscriber could see the end of the
// subscription first, and redeliver an acknowledged message.
func (s *session) waitForLastAck(ctx context.Context) {
	s.mu.Lock()
	acked := s.acked
	s.mu.Unlock()
	if acked == nil || !s.transport.opts.caps.Redelivery {
		return
	}
	timer := time.NewTimer(ackTimeout)
	defer timer.Stop()
	select {
	case <-acked.Context().Done():
	case <-timer.C:
	case <-ctx.Done():
	}
}

// drainAndClose nacks the messages that the subscriber still delivers, and closes the
// subscriber if it belongs to this session.
func (s *session) drainAndClose() error {
	s.opener.Wait()
	if s.messages != nil {
		s.drain()
	}
	if s.sub == nil || s.spec.Group == "" {
		return nil
	}
	if err := s.sub.Close(); err != nil {
		return s.transport.newError(codeOf(err), "close", s.spec.Topic, "", err)
	}
	return nil
}

// drain nacks messages until the subscriber closes the channel, or drainTimeout has passed.
func (s *session) drain() {
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	for {
		select {
		case m, ok := <-s.messages:
			if !ok {
				return
			}
			m.Nack()
		case <-timer.C:
			return
		}
	}
}

// release nacks the messages that are not acknowledged.
func (s *session) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	for _, d := range s.unacked {
		d.message.Nack()
	}
	s.unacked = nil
}

// partition implements driver.Partition for a session.
type partition struct{ *session }

// ID is 0.
func (p *partition) ID() int32 { return 0 }

// Context ends when the session is closed, or the subscriber closes its channel.
func (p *partition) Context() context.Context { return p.ctx }

// Fetch waits for a message. It returns it with further messages that are available at once.
func (p *partition) Fetch(ctx context.Context) ([]driver.Record, error) {
	switch {
	case p.ctx.Err() != nil:
		return nil, p.cause()
	case ctx.Err() != nil:
		return nil, p.transport.contextError("fetch", p.spec.Topic, ctx)
	}
	select {
	case m, ok := <-p.messages:
		if !ok {
			p.end(p.transport.newError(driver.CodeUnavailable, "subscribe", p.spec.Topic,
				"the watermill subscriber closed its channel: it was closed, or lost its broker; subscribe again", nil))
			return nil, p.cause()
		}
		p.transport.connection.succeeded()
		return p.fetchAvailable([]driver.Record{p.receive(m)}), nil
	case <-ctx.Done():
		return nil, p.transport.contextError("fetch", p.spec.Topic, ctx)
	case <-p.ctx.Done():
		return nil, p.cause()
	}
}

// fetchAvailable appends the messages that are available without waiting. The next Fetch
// handles a closed channel.
func (p *partition) fetchAvailable(records []driver.Record) []driver.Record {
	for len(records) < p.spec.MaxFetch {
		select {
		case m, ok := <-p.messages:
			if !ok {
				return records
			}
			records = append(records, p.receive(m))
		default:
			return records
		}
	}
	return records
}

// receive converts m to a record, and keeps m until it is committed.
func (p *partition) receive(m *message.Message) driver.Record {
	r := driver.Record{Topic: p.spec.Topic, Offset: p.offset, Timestamp: time.Now(), UUID: m.UUID, Payload: m.Payload}
	p.offset++
	for k, v := range m.Metadata {
		switch {
		case k == driver.KeyDirective:
			r.Key = []byte(v)
		case !driver.IsDirective(k):
			r.Headers = append(r.Headers, driver.Header{Key: k, Value: v})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		m.Nack()
	} else {
		p.unacked = append(p.unacked, delivery{r.Offset, m})
	}
	return r
}

// Commit acks the watermill messages whose offset is below next, with or without a group.
func (p *partition) Commit(_ context.Context, next int64, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return p.transport.newError(driver.CodeRevoked, "commit", p.spec.Topic, "the subscription is closed, and its unacknowledged messages are nacked", nil)
	}
	n := 0
	for ; n < len(p.unacked) && p.unacked[n].offset < next; n++ {
		p.acked = p.unacked[n].message
		p.acked.Ack()
	}
	clear(p.unacked[:n])
	p.unacked = p.unacked[n:]
	return nil
}

// Release nacks the messages that are not acknowledged.
func (p *partition) Release() { p.release() }
