package gochannel

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
)

// session is a subscription, and the only partition of that subscription.
type session struct {
	transport *Transport
	name      string
	maxFetch  int

	// topic is set once, by hub.join. topic.mu guards queue.
	topic *topic
	queue queue
	// arrived has capacity 1. It receives when a message is added to the queue.
	arrived chan struct{}

	// ctx ends with a Closed error when the session is closed.
	ctx   context.Context
	end   context.CancelCauseFunc
	leave sync.Once

	// announced is used only by the goroutine that calls Next. offset and fetched (what
	// Fetch returned last) are used only by the goroutine that calls Fetch.
	announced bool
	offset    int64
	fetched   []driver.Record
}

var (
	_ driver.Session   = (*session)(nil)
	_ driver.Partition = (*partition)(nil)
)

func newSession(t *Transport, s driver.Subscription) *session {
	ctx, end := context.WithCancelCause(context.Background())
	return &session{
		transport: t,
		name:      s.Topic,
		maxFetch:  max(1, s.MaxFetch),
		queue:     queue{limit: t.buffer},
		arrived:   make(chan struct{}, 1),
		ctx:       ctx,
		end:       end,
	}
}

// Next returns the partition at once. The next call waits until the session is closed.
func (s *session) Next(ctx context.Context) (driver.Event, error) {
	if s.ctx.Err() != nil {
		return driver.Event{}, s.cause()
	}
	if !s.announced {
		s.announced = true
		return driver.Event{Assigned: true, Added: []driver.Partition{&partition{s}}}, nil
	}
	select {
	case <-ctx.Done():
		return driver.Event{}, contextError("next", s.name, ctx)
	case <-s.ctx.Done():
		return driver.Event{}, s.cause()
	}
}

// cause returns why the session has ended.
func (s *session) cause() error { return context.Cause(s.ctx) }

// Close drops the messages that were not fetched, which makes space for waiting publishers.
func (s *session) Close(context.Context) error {
	s.close("the subscription is closed")
	s.transport.remove(s)
	return nil
}

func (s *session) close(reason string) {
	s.leave.Do(func() {
		s.end(&driver.Error{Code: driver.CodeClosed, Op: "subscribe", Transport: name, Topic: s.name, Reason: reason})
		s.transport.hub.leave(s)
	})
}

// signal wakes Fetch. It does not block.
func (s *session) signal() {
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// take removes up to maxFetch records from the queue.
func (s *session) take() []driver.Record {
	s.topic.mu.Lock()
	defer s.topic.mu.Unlock()
	n := min(s.queue.n, s.maxFetch)
	if n == 0 {
		return nil
	}
	s.fetched = slices.Grow(s.fetched[:0], n)[:n]
	records := s.fetched
	for i := range records {
		e := s.queue.pop()
		records[i] = e.record
		if e.shared {
			records[i].Headers = slices.Clone(e.record.Headers)
		}
		records[i].Offset = s.offset
		s.offset++
	}
	s.topic.wakeFirstLocked()
	return records
}

// partition implements driver.Partition for a session.
type partition struct{ *session }

// ID is 0.
func (p *partition) ID() int32 { return 0 }

// Context ends when the session or its transport is closed.
func (p *partition) Context() context.Context { return p.ctx }

// Fetch returns buffered records. If there are none, it waits.
func (p *partition) Fetch(ctx context.Context) ([]driver.Record, error) {
	clear(p.fetched)
	for {
		if p.ctx.Err() != nil {
			return nil, p.cause()
		}
		if ctx.Err() != nil {
			return nil, contextError("fetch", p.name, ctx)
		}
		if records := p.take(); records != nil {
			return records, nil
		}
		select {
		case <-p.arrived:
			// Yield to goroutines that are about to publish. Without this, a caller of RPC
			// and the goroutine that answers can keep one processor busy between
			// themselves, while all other goroutines wait.
			runtime.Gosched()
		case <-ctx.Done():
		case <-p.ctx.Done():
		}
	}
}

// Commit does nothing, because there is no log.
func (p *partition) Commit(context.Context, int64, string) error { return nil }

// Release does nothing, because no other session waits for the partition.
func (p *partition) Release() {}
