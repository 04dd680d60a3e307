package bustest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Faults is a transport that makes another one misbehave. It implements
// [driver.Transport] and every optional interface of package driver, and passes each on to
// a transport that has it; a call of one that the transport does not have is Unsupported,
// but for [Faults.Check], which tells. All methods may be called from many goroutines at
// once.
type Faults struct {
	inner driver.Transport
	name  string

	// closing ends with Close: nothing waits any more.
	closing context.Context
	close   context.CancelCauseFunc
	// moves are the goroutines that take a session out of its group; Close waits.
	moves sync.WaitGroup

	mu       sync.Mutex
	script   script
	away     error         // why the connection is cut; nil when it is not
	changed  chan struct{} // closed and replaced when away is set or ends
	back     *time.Timer   // ends a Disconnect that has an end
	sessions []*session
	held     []outcome
	observer observer

	// stamp gives messages without a timestamp theirs; nil leaves that to the transport.
	// It is set before the first Publish.
	stamp func() time.Time
}

var (
	_ driver.Transport      = (*Faults)(nil)
	_ driver.Admin          = (*Faults)(nil)
	_ driver.PartitionAdder = (*Faults)(nil)
	_ driver.Checker        = (*Faults)(nil)
)

// NewFaults puts the rules between a bus and t, which it owns from then on: closing
// the one closes the other. The same seed gives the same faults, see the package
// comment. It fails with InvalidArgument when t is nil or a rule makes no sense.
func NewFaults(t driver.Transport, seed uint64, rules ...Rule) (*Faults, error) {
	if t == nil {
		return nil, &driver.Error{Code: driver.CodeInvalidArgument, Op: "inject", Reason: "the transport is nil"}
	}
	f := &Faults{inner: t, name: t.Capabilities().Name, script: script{seed: seed}, changed: make(chan struct{})}
	f.closing, f.close = context.WithCancelCause(context.Background())
	if err := f.Inject(rules...); err != nil {
		return nil, err
	}
	return f, nil
}

// Inject adds rules after those that are there; their counts begin at 0. When one
// of them makes no sense none is added, and it fails with InvalidArgument.
func (f *Faults) Inject(rules ...Rule) error {
	for _, r := range rules {
		if err := r.check(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script.add(rules)
	return nil
}

// Clear removes every rule. A connection that is cut stays cut, and outcomes that
// are held stay held.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script.rules = nil
}

// Unwrap returns the transport underneath.
func (f *Faults) Unwrap() driver.Transport { return f.inner }

// Capabilities are those of the transport underneath.
func (f *Faults) Capabilities() driver.Capabilities { return f.inner.Capabilities() }

// Subscribe begins to read a topic. While the connection is cut it waits for
// nothing: the session subscribes when the connection is back.
func (f *Faults) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Session, error) {
	sub.Partitions = slices.Clone(sub.Partitions)
	s := newSession(f, sub)
	f.mu.Lock()
	away := f.away
	f.mu.Unlock()
	if away == nil {
		inner, err := f.inner.Subscribe(ctx, sub)
		if err != nil {
			s.turn()
			return nil, err
		}
		s.inner = inner
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing.Err() != nil { // the transport's Close is the end of s.inner
		return nil, f.closed("subscribe", sub.Topic)
	}
	f.sessions = append(f.sessions, s)
	if f.away != nil && s.inner != nil { // cut since
		s.lose(f.away)
	}
	return s, nil
}

// Close closes the transport underneath. Outcomes that are still held are told as
// unknown.
func (f *Faults) Close(ctx context.Context) error {
	f.mu.Lock()
	f.close(f.closed("close", ""))
	if f.back != nil {
		f.back.Stop()
	}
	held := f.held
	f.held = nil
	f.mu.Unlock()
	for _, o := range held {
		o.lose()
	}
	err := f.inner.Close(ctx)
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		f.moves.Wait() // short: everything these wait for has ended with closing
	}()
	select {
	case <-moved:
	case <-ctx.Done():
		if err == nil {
			err = f.failure(driver.ContextCode(ctx.Err()), "close", "", "a session was still leaving", ctx.Err())
		}
	}
	f.observer.end(f)
	return err
}

func (f *Faults) failure(code driver.Code, op, topic, reason string, cause error) *driver.Error {
	return &driver.Error{Code: code, Op: op, Transport: f.name, Topic: topic, Reason: reason, Err: cause}
}

func (f *Faults) closed(op, topic string) *driver.Error {
	return f.failure(driver.CodeClosed, op, topic, "the transport is closed", nil)
}

// reach says why an operation that needs the broker can't be done now.
func (f *Faults) reach(op, topic string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closing.Err() != nil || f.away == nil:
		return nil // it is for the transport to answer
	default:
		return f.failure(driver.CodeUnavailable, op, topic, "the connection was cut by a fault", f.away)
	}
}
