package bus_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// script is a transport that a test controls: the test assigns partitions, revokes them and
// completes messages.
type script struct {
	caps      driver.Capabilities
	publish   func(batch []driver.Outgoing)
	subscribe func(driver.Subscription) (driver.Session, error)
	session   *scriptSession

	mu      sync.Mutex
	observe func(driver.Connection)
	closed  bool
}

func newScript() *script {
	s := &script{session: &scriptSession{events: make(chan driver.Event, 16)}, caps: driver.Capabilities{
		Name: "script", Ordered: true, Keys: true, HeaderOrder: true, Partitions: true, Groups: true, Replay: true, Redelivery: true}}
	s.publish = func(batch []driver.Outgoing) {
		for i := range batch {
			batch[i].Complete(driver.Outcome{Partition: 0, Offset: int64(i)})
		}
	}
	s.subscribe = func(driver.Subscription) (driver.Session, error) { return s.session, nil }
	return s
}

func (s *script) bus(t *testing.T, opts ...bus.Option) *bus.Bus {
	t.Helper()
	b, err := bus.New(s, opts...)
	require.NoError(t, err)
	return b
}

func (s *script) Capabilities() driver.Capabilities { return s.caps }

// kept returns a copy of batch. The bus reuses the memory of batch itself.
func kept(batch []driver.Outgoing) []driver.Outgoing {
	batch = slices.Clone(batch)
	for i := range batch {
		batch[i].Headers = slices.Clone(batch[i].Headers)
	}
	return batch
}

// header returns the value of the header of that name; "" if there is none, "twice" if there are
// two.
func header(o *driver.Outgoing, name string) (value string) {
	for _, h := range o.Headers {
		if h.Key == name && value != "" {
			return "twice"
		}
		if h.Key == name {
			value = h.Value
		}
	}
	return value
}

func (s *script) Publish(batch []driver.Outgoing) { s.publish(batch) }
func (s *script) Ready(context.Context) error     { return nil }
func (s *script) Ping(context.Context) error      { return nil }
func (s *script) Subscribe(_ context.Context, sub driver.Subscription) (driver.Session, error) {
	return s.subscribe(sub)
}

func (s *script) Observe(observe func(driver.Connection)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe = observe
	observe(driver.Connection{State: driver.Connected})
}

func (s *script) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

type scriptSession struct {
	events chan driver.Event
	end    error
	mu     sync.Mutex
	closed bool
}

func (s *scriptSession) Next(ctx context.Context) (driver.Event, error) {
	select {
	case e, ok := <-s.events:
		if !ok {
			return driver.Event{}, s.end
		}
		return e, nil
	case <-ctx.Done():
		return driver.Event{}, ctx.Err()
	}
}

func (s *scriptSession) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// scriptPartition is a claim of partition 0 of topic "t".
type scriptPartition struct {
	ctx      context.Context
	revoke   context.CancelCauseFunc
	records  chan []driver.Record
	released chan struct{}
	once     sync.Once

	mu         sync.Mutex
	commitErr  error
	commitErrs []error // the errors of the next commits; after them, commitErr applies
	commits    []int64
	fetchErr   error // the error of every Fetch
}

func newScriptPartition(recs ...driver.Record) *scriptPartition {
	p := &scriptPartition{records: make(chan []driver.Record, 1024), released: make(chan struct{})}
	p.ctx, p.revoke = context.WithCancelCause(context.Background())
	if len(recs) > 0 {
		p.records <- recs
	}
	return p
}

func (p *scriptPartition) ID() int32                { return 0 }
func (p *scriptPartition) Context() context.Context { return p.ctx }
func (p *scriptPartition) Release()                 { p.once.Do(func() { close(p.released) }) }

func (p *scriptPartition) Fetch(ctx context.Context) ([]driver.Record, error) {
	p.mu.Lock()
	err := p.fetchErr
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case r := <-p.records:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	}
}

func (p *scriptPartition) Commit(ctx context.Context, next int64, _ string) error {
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("the context of a commit has no deadline")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.commitErrs) > 0 {
		err := p.commitErrs[0]
		p.commitErrs = p.commitErrs[1:]
		return err
	}
	if p.commitErr != nil {
		return p.commitErr
	}
	p.commits = append(p.commits, next)
	return nil
}

func (p *scriptPartition) committed() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]int64(nil), p.commits...)
}

func (p *scriptPartition) last() int64 {
	if c := p.committed(); len(c) > 0 {
		return c[len(c)-1]
	}
	return -1
}

// records returns n records, the first with the offset from. key may be nil.
func records(from, n int, key func(i int) string) []driver.Record {
	recs := make([]driver.Record, n)
	for i := range recs {
		recs[i] = driver.Record{Topic: "t", Offset: int64(from + i), UUID: "u", Payload: []byte{byte(from + i)}}
		if key != nil {
			recs[i].Key = []byte(key(from + i))
		}
	}
	return recs
}
