package memory

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus/driver"
)

// name is what the transport calls itself in capabilities and errors.
const name = "memory"

// Transport is one client of a [Log], as a connection to a broker is. All methods
// may be called from many goroutines at once.
type Transport struct {
	log *Log
	// link is the present connection; publishers read it without a lock.
	link atomic.Pointer[link]
	// onClose is called once, when the transport is closed.
	onClose func()

	// Guarded by Log.mu.
	sessions  []*session
	away      error // why this transport is cut off, on its own account
	closed    bool
	done      chan struct{} // closed when Close is through
	observe   func(driver.Connection)
	state     driver.Connection
	news      []driver.Connection
	notifying chan struct{} // not nil while one goroutine calls observe
	changed   chan struct{} // closed and replaced at each change of state
}

var (
	_ driver.Transport      = (*Transport)(nil)
	_ driver.Admin          = (*Transport)(nil)
	_ driver.PartitionAdder = (*Transport)(nil)
	_ driver.Checker        = (*Transport)(nil)
)

// New returns a transport on a log of its own, or with [WithLog] on a shared one. It
// fails with InvalidArgument when an option is out of its range, or is about a log
// beside WithLog. Close it when done.
func New(opts ...Option) (*Transport, error) {
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	l := c.log
	switch {
	case !c.logSet:
		l = newLog(c.settings)
	case l == nil:
		return nil, invalid("open", "", "WithLog was given no log")
	case c.logOption != "":
		return nil, invalid("open", "", c.logOption+" is about a log: give it to NewLog, not beside WithLog")
	}
	return newTransport(l, func() {}), nil
}

func newTransport(l *Log, onClose func()) *Transport {
	t := &Transport{log: l, onClose: onClose, done: make(chan struct{}), changed: make(chan struct{})}
	t.link.Store(newLink())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transports = append(l.transports, t)
	t.reconsider()
	return t
}

// Log returns the log the transport is on, for tests that look into it, force a
// rebalance, or put another transport beside this one.
func (t *Transport) Log() *Log { return t.log }

// Capabilities says what the transport can do.
func (t *Transport) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Name:            name,
		Ordered:         true,
		Keys:            true,
		HeaderOrder:     true,
		Partitions:      true,
		Groups:          true,
		Replay:          true,
		Redelivery:      true,
		Topics:          true,
		MaxMessageBytes: int(t.log.maxBytes),
	}
}

// Subscribe begins to read a topic; it waits for nothing. A topic that does not
// exist is what the session's Next says.
func (t *Transport) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Session, error) {
	switch {
	case ctx.Err() != nil:
		return nil, contextError("subscribe", sub.Topic, ctx.Err())
	case sub.Topic == "":
		return nil, invalid("subscribe", "", "the topic is empty")
	case sub.Group != "" && sub.Partitions != nil:
		return nil, invalid("subscribe", sub.Topic, "a group shares all partitions: name partitions only without a group")
	}
	sub.Partitions = slices.Clone(sub.Partitions)
	s := &session{log: t.log, transport: t, sub: sub, wake: make(chan struct{}, 1), claims: map[int32]*claim{}}
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if t.closed {
		return nil, closedError("subscribe", sub.Topic)
	}
	t.sessions = append(t.sessions, s)
	if t.state.State == driver.Connected {
		s.connect()
	}
	return s, nil
}

// Close ends the sessions, completes publishers that wait for room with Closed, and
// leaves the log, which keeps its records for the others. It waits, under ctx, for
// nothing but a call of the observer that is under way. It is idempotent; later
// calls wait for the first.
func (t *Transport) Close(ctx context.Context) error { return t.close(ctx) }

// Crash ends the transport as a process that dies would: nothing is drained or
// committed, claims and their contexts end at once, other members take over and get
// what was not committed. Whoever still uses the transport is told Closed. It is
// for tests of what comes after.
func (t *Transport) Crash() {
	// An observer under way is not waited for.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = t.close(ctx)
}

func (t *Transport) close(ctx context.Context) error {
	t.log.mu.Lock()
	first := !t.closed
	if first {
		t.closed = true
		t.news = nil
		t.cut(closedError("connect", ""))
		for _, s := range slices.Clone(t.sessions) {
			s.finish(closedError("subscribe", s.sub.Topic))
		}
		t.log.transports = slices.DeleteFunc(t.log.transports, func(o *Transport) bool { return o == t })
		t.broadcast()
	}
	notifying := t.notifying
	t.log.mu.Unlock()
	if first {
		t.onClose()
		close(t.done)
	}
	if notifying == nil {
		notifying = t.done
	}
	for _, done := range []chan struct{}{t.done, notifying} {
		select {
		case <-done:
			continue
		default:
		}
		select {
		case <-done:
		case <-ctx.Done():
			return contextError("close", "", ctx.Err())
		}
	}
	return nil
}

func closedError(op, topic string) *driver.Error {
	return failure(driver.CodeClosed, op, topic, "the transport is closed", nil)
}
