package memory

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus/driver"
)

// name is the URL scheme, and the name of the transport in capabilities and errors.
const name = "memory"

// Transport is a client of a [Log], as a connection to a broker is. All methods are safe
// for concurrent use.
type Transport struct {
	log *Log
	// link is the current connection. Publishers read it without a lock.
	link atomic.Pointer[link]
	// onClose is called once, when the transport is closed.
	onClose func()

	// Guarded by Log.mu.
	sessions     []*session
	disconnected error // why Disconnect was called on this transport, nil if it was not
	closed       bool
	done         chan struct{} // closed when the first Close has closed everything
	observer     func(driver.Connection)
	connection   driver.Connection
	unobserved   []driver.Connection // states that the observer has not received yet
	observing    chan struct{}       // non-nil while a goroutine calls the observer, then closed
	changed      chan struct{}       // closed and replaced at each change of connection
}

var (
	_ driver.Transport      = (*Transport)(nil)
	_ driver.Admin          = (*Transport)(nil)
	_ driver.PartitionAdder = (*Transport)(nil)
	_ driver.Checker        = (*Transport)(nil)
)

// New returns a transport with its own log, or with the log of [WithLog]. It returns an
// InvalidArgument error if an option is out of range, or if WithLog is combined with an
// option that configures a log. The caller must close the transport, or pass it to
// bus.New, whose bus closes it.
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
		return nil, invalidArgument("open", "", "the log of WithLog is nil: make one with NewLog")
	case c.logOption != "":
		return nil, invalidArgument("open", "", c.logOption+" configures a log: pass it to NewLog, not to New together with WithLog")
	}
	return newTransport(l, func() {}), nil
}

func newTransport(l *Log, onClose func()) *Transport {
	t := &Transport{log: l, onClose: onClose, done: make(chan struct{}), changed: make(chan struct{})}
	t.link.Store(newLink())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transports = append(l.transports, t)
	t.updateConnection()
	return t
}

// Log returns the log of the transport. Tests use it to inspect the log, to force a
// rebalance, or to make more transports with the same log.
func (t *Transport) Log() *Log { return t.log }

// Capabilities returns what the transport supports.
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

// Subscribe starts a session on a topic. It does not block. If the topic does not exist,
// Next of the session returns NotFound.
func (t *Transport) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Session, error) {
	switch {
	case ctx.Err() != nil:
		return nil, contextError("subscribe", sub.Topic, ctx.Err())
	case sub.Topic == "":
		return nil, invalidArgument("subscribe", "", "the topic is empty: name one")
	case sub.Group != "" && sub.Partitions != nil:
		return nil, invalidArgument("subscribe", sub.Topic, "a group shares all partitions: name partitions only without a group")
	}
	sub.Partitions = slices.Clone(sub.Partitions)
	s := &session{log: t.log, transport: t, sub: sub, wake: make(chan struct{}, 1), claims: map[int32]*claim{}}
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if t.closed {
		return nil, closedError("subscribe", sub.Topic)
	}
	t.sessions = append(t.sessions, s)
	if t.connection.State == driver.Connected {
		s.connect()
	}
	return s, nil
}

// Close ends the sessions and completes waiting publishers with Closed. The log keeps its
// records for other transports. Close waits only for a running call of the observer,
// bounded by ctx. It is idempotent; later calls wait for the first.
func (t *Transport) Close(ctx context.Context) error { return t.close(ctx) }

// Crash simulates that the process of the transport crashes. Nothing is drained or
// committed, and the contexts of all claims end at once. The other members of its groups
// take over and receive what was not committed. Calls on the transport return Closed. Use it
// in tests of recovery.
func (t *Transport) Crash() {
	// The context has ended, so that close does not wait for a running observer.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = t.close(ctx)
}

func (t *Transport) close(ctx context.Context) error {
	t.log.mu.Lock()
	first := !t.closed
	if first {
		t.closed = true
		t.unobserved = nil
		t.breakLink(closedError("connect", ""))
		for _, s := range slices.Clone(t.sessions) {
			s.end(closedError("subscribe", s.sub.Topic))
		}
		t.log.transports = slices.DeleteFunc(t.log.transports, func(o *Transport) bool { return o == t })
		t.signalChange()
	}
	observing := t.observing
	t.log.mu.Unlock()
	if first {
		t.onClose()
		close(t.done)
	}
	if observing == nil {
		observing = t.done
	}
	for _, done := range []chan struct{}{t.done, observing} {
		// If both are ready, done takes precedence over the end of ctx.
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
