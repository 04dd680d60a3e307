package bustest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Faults is a transport that wraps another transport and injects faults. It implements
// [driver.Transport] and every optional interface of package driver. It forwards each call to the
// wrapped transport. If the wrapped transport does not implement an optional interface, the methods
// of that interface return an Unsupported error, except [Faults.Check]. All methods are safe for
// concurrent use.
type Faults struct {
	inner driver.Transport
	name  string

	// closing ends when Close is called, and ends every wait.
	closing context.Context
	close   context.CancelCauseFunc
	// leaving counts the goroutines that take a session out of its group. Close waits for them.
	leaving sync.WaitGroup

	mu        sync.Mutex
	rules     ruleSet
	cutCause  error         // why the connection is cut; nil while connected
	changed   chan struct{} // closed and replaced when cutCause changes
	reconnect *time.Timer   // ends a Disconnect that has a duration
	sessions  []*session
	held      []heldOutcome
	notifier  notifier

	// timestamp returns the timestamp of messages without one; nil leaves that to the transport.
	// It is set before the first Publish.
	timestamp func() time.Time
}

var _ driver.Transport = (*Faults)(nil)

// NewFaults wraps t and injects faults by the rules. Faults owns t: closing Faults closes t. The same
// seed causes the same faults, see the package comment. NewFaults returns an InvalidArgument error if
// t is nil or a rule is invalid.
func NewFaults(t driver.Transport, seed uint64, rules ...Rule) (*Faults, error) {
	if t == nil {
		return nil, &driver.Error{Code: driver.CodeInvalidArgument, Op: "inject faults", Reason: "the transport is nil"}
	}
	f := &Faults{inner: t, name: t.Capabilities().Name, rules: ruleSet{seed: seed}, changed: make(chan struct{})}
	f.closing, f.close = context.WithCancelCause(context.Background())
	if err := f.Inject(rules...); err != nil {
		return nil, err
	}
	return f, nil
}

// Inject adds rules after the existing ones. Each new rule counts messages from now on. Inject
// returns an InvalidArgument error, and adds no rule, if one of them is invalid.
func (f *Faults) Inject(rules ...Rule) error {
	for _, r := range rules {
		if err := r.check(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules.add(rules)
	return nil
}

// Clear removes every rule. It does not end a Disconnect, and does not release held outcomes.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules.rules = nil
}

// Unwrap returns the wrapped transport.
func (f *Faults) Unwrap() driver.Transport { return f.inner }

// Capabilities returns those of the wrapped transport.
func (f *Faults) Capabilities() driver.Capabilities { return f.inner.Capabilities() }

// Subscribe implements [driver.Transport]. While disconnected it returns a session at once, which
// subscribes when the connection is restored.
func (f *Faults) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Session, error) {
	sub.Partitions = slices.Clone(sub.Partitions)
	s := newSession(f, sub)
	f.mu.Lock()
	connected := f.cutCause == nil
	f.mu.Unlock()
	if connected {
		inner, err := f.inner.Subscribe(ctx, sub)
		if err != nil {
			s.wake()
			return nil, err
		}
		s.inner = inner
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing.Err() != nil { // the wrapped transport closes s.inner
		return nil, f.closed("subscribe", sub.Topic)
	}
	f.sessions = append(f.sessions, s)
	if f.cutCause != nil && s.inner != nil { // a Disconnect during the Subscribe
		s.disconnect(f.cutCause)
	}
	return s, nil
}

// Close closes the wrapped transport. Held outcomes are reported as OutcomeUnknown.
func (f *Faults) Close(ctx context.Context) error {
	f.mu.Lock()
	f.close(f.closed("close", ""))
	if f.reconnect != nil {
		f.reconnect.Stop()
	}
	held := f.held
	f.held = nil
	f.mu.Unlock()
	for _, o := range held {
		o.lose()
	}
	err := f.inner.Close(ctx)
	left := make(chan struct{})
	go func() {
		defer close(left)
		f.leaving.Wait() // takes a short time, because closing ends every wait of these goroutines
	}()
	select {
	case <-left:
	case <-ctx.Done():
		if err == nil {
			err = f.failure(driver.ContextCode(ctx.Err()), "close", "", "a session was still leaving its group", ctx.Err())
		}
	}
	f.notifier.stop(f)
	return err
}

func (f *Faults) failure(code driver.Code, op, topic, reason string, cause error) *driver.Error {
	return &driver.Error{Code: code, Op: op, Transport: f.name, Topic: topic, Reason: reason, Err: cause}
}

func (f *Faults) closed(op, topic string) *driver.Error {
	return f.failure(driver.CodeClosed, op, topic, "the transport is closed", nil)
}

// checkConnected returns an Unavailable error while disconnected. After Close it returns nil, because
// the wrapped transport reports that it is closed.
func (f *Faults) checkConnected(op, topic string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing.Err() != nil || f.cutCause == nil {
		return nil
	}
	return f.failure(driver.CodeUnavailable, op, topic, "the connection was cut by a fault", f.cutCause)
}
