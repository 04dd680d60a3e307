package gochannel

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
)

// session is one subscription, and at the same time its only partition.
type session struct {
	transport *Transport
	name      string
	maxFetch  int

	// topic is set once, by hub.join. queue is guarded by topic.mu.
	topic *topic
	queue queue
	// arrived has an element when the queue got something since Fetch last looked.
	arrived chan struct{}

	// ctx ends when the session is closed, with a Closed error.
	ctx   context.Context
	end   context.CancelCauseFunc
	leave sync.Once

	// announced belongs to the goroutine that calls Next, offset and taken, which is what
	// it returned last, to the one that calls Fetch.
	announced bool
	offset    int64
	taken     []driver.Record
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
		queue:     queue{bound: t.buffer},
		arrived:   make(chan struct{}, 1),
		ctx:       ctx,
		end:       end,
	}
}

// Next returns the one partition at once, and then waits for the end.
func (s *session) Next(ctx context.Context) (driver.Event, error) {
	if s.ctx.Err() != nil {
		return driver.Event{}, context.Cause(s.ctx)
	}
	if !s.announced {
		s.announced = true
		return driver.Event{Assigned: true, Added: []driver.Partition{&partition{s}}}, nil
	}
	select {
	case <-ctx.Done():
		return driver.Event{}, waitError("next", s.name, ctx)
	case <-s.ctx.Done():
		return driver.Event{}, context.Cause(s.ctx)
	}
}

// Close drops what was not fetched and makes room for publishers that wait.
func (s *session) Close(context.Context) error {
	s.close("the subscription was closed")
	s.transport.forget(s)
	return nil
}

func (s *session) close(reason string) {
	s.leave.Do(func() {
		s.end(&driver.Error{Code: driver.CodeClosed, Op: "subscribe", Transport: name, Topic: s.name, Reason: reason})
		s.transport.hub.leave(s)
	})
}

// signal tells Fetch that the queue has something. It doesn't block.
func (s *session) signal() {
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// take moves up to maxFetch records out of the queue.
func (s *session) take() []driver.Record {
	s.topic.mu.Lock()
	defer s.topic.mu.Unlock()
	n := min(s.queue.n, s.maxFetch)
	if n == 0 {
		return nil
	}
	s.taken = slices.Grow(s.taken[:0], n)[:n]
	records := s.taken
	for i := range records {
		e := s.queue.pop()
		records[i] = e.record
		if e.shared {
			records[i].Headers = slices.Clone(e.record.Headers)
		}
		records[i].Offset = s.offset
		s.offset++
	}
	s.topic.wakeLocked()
	return records
}

// partition is the session as package bus reads it.
type partition struct{ *session }

// ID is 0.
func (p *partition) ID() int32 { return 0 }

// Context ends when the session or its transport is closed.
func (p *partition) Context() context.Context { return p.ctx }

// Fetch returns what is buffered, and waits when that is nothing.
func (p *partition) Fetch(ctx context.Context) ([]driver.Record, error) {
	clear(p.taken)
	for {
		if p.ctx.Err() != nil {
			return nil, context.Cause(p.ctx)
		}
		if ctx.Err() != nil {
			return nil, waitError("fetch", p.name, ctx)
		}
		if records := p.take(); records != nil {
			return records, nil
		}
		select {
		case <-p.arrived:
			// Those who are about to publish go first; otherwise a caller and whoever
			// answers it hand the processor to each other while all others wait.
			runtime.Gosched()
		case <-ctx.Done():
		case <-p.ctx.Done():
		}
	}
}

// Commit does nothing: there is no log to hold a position in.
func (p *partition) Commit(context.Context, int64, string) error { return nil }

// Release does nothing: nobody waits for this claim.
func (p *partition) Release() {}
