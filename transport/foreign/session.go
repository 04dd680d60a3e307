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
	shortestPause = 100 * time.Millisecond
	longestPause  = 10 * time.Second
	// settleTime bounds how long Close waits for the subscriber to see the last Ack.
	settleTime = 250 * time.Millisecond
	// drainTime bounds how long Close waits for the subscriber to close its channel.
	drainTime = time.Second
)

// session is one subscription, and at the same time its only partition.
type session struct {
	transport *Transport
	spec      driver.Subscription

	// ctx is the foreign subscription's: it ends on Close, or with why it is over.
	ctx context.Context
	end context.CancelCauseFunc
	// opener is the goroutine that subscribes. It tells the outcome of each attempt
	// through attempts; sub and messages are set by it before the one that succeeds.
	opener   sync.WaitGroup
	attempts chan error
	sub      message.Subscriber
	messages <-chan *message.Message

	assigned bool  // belongs to the goroutine that calls Next
	offset   int64 // belongs to the goroutine that calls Fetch

	mu       sync.Mutex
	unacked  []delivery
	acked    *message.Message // the last one
	released bool

	closeOnce sync.Once
	closed    chan struct{}
	closeErr  error
}

// delivery is a foreign message that is not acknowledged yet.
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

// open subscribes, and tries again until it works or can't work.
func (s *session) open() {
	pause := shortestPause
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
		pause = min(2*pause, longestPause)
	}
}

func (s *session) subscribe() error {
	if s.sub == nil {
		if s.spec.Group == "" {
			s.sub = s.transport.sub
		} else {
			sub, err := s.transport.opts.group(s.spec.Group)
			if err != nil {
				return err
			}
			if sub == nil {
				return s.transport.fail(driver.CodeInvalidArgument, "subscribe", s.spec.Topic, "the function given to GroupSubscriber returned no subscriber", nil)
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

// Next returns the partition once the subscriber has subscribed, and an event for
// each attempt that failed before.
func (s *session) Next(ctx context.Context) (driver.Event, error) {
	if s.ctx.Err() != nil {
		return driver.Event{}, context.Cause(s.ctx)
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
			s.end(s.transport.fail(codeOf(err), "subscribe", s.spec.Topic, "", err))
			return driver.Event{}, context.Cause(s.ctx)
		default:
			return driver.Event{Cause: s.transport.fail(driver.CodeUnavailable, "subscribe", s.spec.Topic, "the subscriber failed to subscribe, trying again", err)}, nil
		}
	case <-ctx.Done():
		return driver.Event{}, s.transport.waitError("next", s.spec.Topic, ctx)
	case <-s.ctx.Done():
		return driver.Event{}, context.Cause(s.ctx)
	}
}

// Close nacks what is not acknowledged and ends the foreign subscription.
func (s *session) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		s.closeErr = s.close(ctx)
		s.transport.forget(s)
		close(s.closed)
	})
	select {
	case <-s.closed:
		return s.closeErr
	case <-ctx.Done():
		return s.transport.waitError("close", s.spec.Topic, ctx)
	}
}

func (s *session) close(ctx context.Context) error {
	s.release()
	s.settle(ctx)
	s.end(s.transport.fail(driver.CodeClosed, "subscribe", s.spec.Topic, "the subscription was closed", nil))
	left := make(chan error, 1)
	go func() { left <- s.leave() }()
	select {
	case err := <-left:
		return err
	case <-ctx.Done():
		return s.transport.waitError("close", s.spec.Topic, ctx)
	}
}

// settle waits until the subscriber shows, by ending its message's context, that it
// saw the last Ack. Without that an Ack just before Close can be lost to it.
func (s *session) settle(ctx context.Context) {
	s.mu.Lock()
	acked := s.acked
	s.mu.Unlock()
	if acked == nil || !s.transport.opts.caps.Redelivery {
		return
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-acked.Context().Done():
	case <-timer.C:
	case <-ctx.Done():
	}
}

// leave nacks what the subscriber still hands out until it closes the channel, and
// closes the subscriber if it is the session's own.
func (s *session) leave() error {
	s.opener.Wait()
	if s.messages != nil {
		s.drain()
	}
	if s.sub == nil || s.spec.Group == "" {
		return nil
	}
	if err := s.sub.Close(); err != nil {
		return s.transport.fail(codeOf(err), "close", s.spec.Topic, "", err)
	}
	return nil
}

func (s *session) drain() {
	timer := time.NewTimer(drainTime)
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

func (s *session) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	for _, d := range s.unacked {
		d.message.Nack()
	}
	s.unacked = nil
}

// partition is the session as package bus reads it.
type partition struct{ *session }

// ID is 0.
func (p *partition) ID() int32 { return 0 }

// Context ends when the session is closed, or the subscriber closed its channel.
func (p *partition) Context() context.Context { return p.ctx }

// Fetch waits for a message, and takes with it what is there already.
func (p *partition) Fetch(ctx context.Context) ([]driver.Record, error) {
	switch {
	case p.ctx.Err() != nil:
		return nil, context.Cause(p.ctx)
	case ctx.Err() != nil:
		return nil, p.transport.waitError("fetch", p.spec.Topic, ctx)
	}
	select {
	case m, ok := <-p.messages:
		if !ok {
			p.end(p.transport.fail(driver.CodeUnavailable, "subscribe", p.spec.Topic,
				"the foreign subscriber closed its channel: it was closed, or gave up on its broker; subscribe again", nil))
			return nil, context.Cause(p.ctx)
		}
		p.transport.connection.worked()
		return p.more([]driver.Record{p.receive(m)}), nil
	case <-ctx.Done():
		return nil, p.transport.waitError("fetch", p.spec.Topic, ctx)
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	}
}

// more adds messages that need no waiting for. A closed channel is for the next Fetch.
func (p *partition) more(records []driver.Record) []driver.Record {
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

// Commit acknowledges the messages below next, group or not: it is the only
// acknowledgement that the subscriber gets.
func (p *partition) Commit(_ context.Context, next int64, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return p.transport.fail(driver.CodeRevoked, "commit", p.spec.Topic, "the subscription was closed: what was not acknowledged will be delivered again", nil)
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

// Release nacks what is not acknowledged.
func (p *partition) Release() { p.release() }
