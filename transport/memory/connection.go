package memory

import (
	"context"
	"slices"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Disconnect cuts this transport off from its log, with cause, or a plain
// Unavailable when cause is nil. Until [Transport.Connect]:
//
//   - Publish, waiting or new, completes with Unavailable, and Ping fails with it
//   - the observer is told Disconnected
//   - every session's Next returns an event that is not Assigned, with the cause
//   - claims of a group end with the cause, and its other members take over
//   - claims without a group stay, and their Fetch waits; meanwhile they do not keep
//     records from being trimmed
//
// Disconnecting twice keeps the first cause.
func (t *Transport) Disconnect(cause error) {
	t.log.mu.Lock()
	if t.away == nil {
		t.away = orUnavailable(cause)
	}
	t.reconsiderAndNotify()
}

// Connect ends what Disconnect began. Sessions of a group join again and go on at
// the committed positions; those without one go on after the last record they
// fetched, or at the oldest one if that is gone. While the log itself is
// disconnected nothing happens yet.
func (t *Transport) Connect() {
	t.log.mu.Lock()
	t.away = nil
	t.reconsiderAndNotify()
}

func (t *Transport) reconsiderAndNotify() {
	t.reconsider()
	t.log.mu.Unlock()
	t.notify()
}

// reconsider brings the connection in line with where the broker is. Log.mu is held.
func (t *Transport) reconsider() {
	cause := t.log.away
	if cause == nil {
		cause = t.away
	}
	switch {
	case t.closed:
	case cause != nil && t.state.State != driver.Disconnected:
		t.cut(cause)
		t.become(driver.Disconnected, cause)
		for _, s := range slices.Clone(t.sessions) {
			s.disconnect(cause)
		}
	case cause == nil && t.state.State != driver.Connected:
		if t.link.Load().isDown() {
			t.link.Store(newLink())
		}
		t.become(driver.Connected, nil)
		for _, s := range slices.Clone(t.sessions) {
			s.connect()
		}
	}
}

// cut ends the present link: publishers that wait for room are told why.
func (t *Transport) cut(cause error) {
	l := t.link.Load()
	if l.isDown() {
		// Closed after it was lost: say so to those who come.
		l = newLink()
		t.link.Store(l)
	}
	l.cause, l.closed = cause, t.closed
	close(l.down)
}

// link is a connection; cause and closed are set before down is closed.
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

// err returns nil while the link is up, Closed when the transport is, and otherwise
// Unavailable with the cause.
func (l *link) err(op, topic string) error {
	switch {
	case !l.isDown():
		return nil
	case l.closed:
		return closedError(op, topic)
	default:
		return failure(driver.CodeUnavailable, op, topic, "the log is disconnected", l.cause)
	}
}

func (t *Transport) become(state driver.ConnectionState, cause error) {
	t.state = driver.Connection{State: state, Cause: cause, Since: time.Now()}
	if t.observe != nil {
		t.news = append(t.news, t.state)
	}
	t.broadcast()
}

func (t *Transport) broadcast() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Observe registers the observer, see [driver.Transport].
func (t *Transport) Observe(observe func(driver.Connection)) {
	t.log.mu.Lock()
	t.observe = observe
	if !t.closed {
		t.news = append(t.news, t.state)
	}
	t.log.mu.Unlock()
	t.notify()
}

// notify tells the observer the news, unless another goroutine is at it: that one
// then tells these too.
func (t *Transport) notify() {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if t.notifying != nil {
		return
	}
	done := make(chan struct{})
	t.notifying = done
	for len(t.news) > 0 && !t.closed {
		state, observe := t.news[0], t.observe
		t.news = t.news[1:]
		t.log.mu.Unlock()
		observe(state)
		t.log.mu.Lock()
	}
	t.notifying = nil
	close(done)
}

// Ping says whether the log can be reached: nil, Unavailable with the cause, or
// Closed.
func (t *Transport) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return contextError("ping", "", err)
	}
	return t.link.Load().err("ping", "")
}

// Ready waits until the log can be reached. It fails with Unavailable and the cause
// when ctx ends first, with Closed when the transport is closed.
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
