package memory

import (
	"context"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Disconnect disconnects this transport from its log, with this cause. If cause is nil,
// it is an Unavailable error. Until [Transport.Connect]:
//
//   - Publish, new or waiting, completes with Unavailable. Ping returns Unavailable.
//   - The observer receives Disconnected.
//   - Next of every session returns an event with Assigned false and the cause.
//   - Claims in a group end with the cause, and the other members take over.
//   - Claims without a group stay, and their Fetch waits. Meanwhile they do not hold
//     records back from retention.
//
// If the transport is already disconnected, the first cause is kept.
func (t *Transport) Disconnect(cause error) {
	t.log.mu.Lock()
	if t.disconnected == nil {
		t.disconnected = disconnectCause(cause)
	}
	t.updateConnection()
	t.log.mu.Unlock()
	t.notifyObserver()
}

// Connect connects the transport again after Disconnect. Sessions in a group join again and
// continue at the committed offsets. Sessions without a group continue after the last record
// that they fetched, or at the oldest record if the log has dropped the next one. If the log
// itself is disconnected, the transport stays disconnected until [Log.Connect].
func (t *Transport) Connect() {
	t.log.mu.Lock()
	t.disconnected = nil
	t.updateConnection()
	t.log.mu.Unlock()
	t.notifyObserver()
}

// updateConnection connects or disconnects the transport, as its own state and that of
// the log require. The caller holds Log.mu.
func (t *Transport) updateConnection() {
	cause := t.log.disconnected
	if cause == nil {
		cause = t.disconnected
	}
	switch {
	case t.closed:
	case cause != nil && t.connection.State != driver.Disconnected:
		t.breakLink(cause)
		t.setConnection(driver.Disconnected, cause)
		for _, s := range slices.Clone(t.sessions) {
			s.disconnect(cause)
		}
	case cause == nil && t.connection.State != driver.Connected:
		if t.link.Load().isDown() {
			t.link.Store(newLink())
		}
		t.setConnection(driver.Connected, nil)
		for _, s := range slices.Clone(t.sessions) {
			s.connect()
		}
	}
}

// breakLink ends the connection, which wakes the publishers that wait for space.
func (t *Transport) breakLink(cause error) {
	l := t.link.Load()
	if l.isDown() {
		// The transport is closed while it is disconnected. A new link reports Closed to
		// later callers.
		l = newLink()
		t.link.Store(l)
	}
	l.cause, l.closed = cause, t.closed
	close(l.down)
}

// link is one connection. cause and closed are set before down is closed.
type link struct {
	down   chan struct{}
	cause  error
	closed bool
}

func newLink() *link { return &link{down: make(chan struct{})} }

func (l *link) isDown() bool {
	select {
	case <-l.down:
		return true
	default:
		return false
	}
}

// err returns nil while the link is up, Closed if the transport is closed, and otherwise
// Unavailable with the cause.
func (l *link) err(op, topic string) error {
	switch {
	case !l.isDown():
		return nil
	case l.closed:
		return closedError(op, topic)
	default:
		return newError(driver.CodeUnavailable, op, topic, "the log is disconnected", l.cause)
	}
}

func (t *Transport) setConnection(state driver.ConnectionState, cause error) {
	t.connection = driver.Connection{State: state, Cause: cause, Since: time.Now()}
	if t.observer != nil {
		t.unobserved = append(t.unobserved, t.connection)
	}
	t.signalChange()
}

func (t *Transport) signalChange() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Observe implements [driver.Transport].
func (t *Transport) Observe(observer func(driver.Connection)) {
	t.log.mu.Lock()
	t.observer = observer
	if !t.closed {
		t.unobserved = append(t.unobserved, t.connection)
	}
	t.log.mu.Unlock()
	t.notifyObserver()
}

// notifyObserver passes the unobserved states to the observer, in order and without
// Log.mu. If another goroutine already does so, that one passes the new states too.
func (t *Transport) notifyObserver() {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if t.observing != nil {
		return
	}
	done := make(chan struct{})
	t.observing = done
	for len(t.unobserved) > 0 && !t.closed {
		state, observer := t.unobserved[0], t.observer
		t.unobserved = t.unobserved[1:]
		t.log.mu.Unlock()
		observer(state)
		t.log.mu.Lock()
	}
	t.observing = nil
	close(done)
}

// Ping returns nil if the log can be reached, Unavailable with the cause if it cannot,
// and Closed after Close.
func (t *Transport) Ping(ctx context.Context) error { return t.reachable(ctx, "ping", "") }

// reachable returns why an operation cannot reach the log, nil if it can.
func (t *Transport) reachable(ctx context.Context, op, topic string) error {
	if err := ctx.Err(); err != nil {
		return contextError(op, topic, err)
	}
	return t.link.Load().err(op, topic)
}

// Ready waits until the log can be reached. It returns Unavailable with the cause if ctx
// ends first, and Closed if the transport is closed.
func (t *Transport) Ready(ctx context.Context) error {
	for {
		t.log.mu.Lock()
		changed := t.changed
		t.log.mu.Unlock()
		l := t.link.Load()
		err := l.err("ready", "")
		if err == nil || l.closed {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return err
		}
	}
}
