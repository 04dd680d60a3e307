package bustest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

var errDisconnected = errors.New("the test called Disconnect")

// Disconnect cuts the connection between the bus and its broker until [Faults.Connect] is called. The
// observer gets cause with the state Disconnected; nil means a default cause. While disconnected:
//
//   - Publish, Ping and topic administration fail with Unavailable, and Faults sends nothing.
//   - The observer has the state Disconnected.
//   - Every session loses its assignment.
//   - The claims of a group end and cannot commit. The other members of the group get the
//     partitions once the handlers have returned.
//   - The claims without a group stay, and their Fetch waits.
//
// The wrapped transport still reports the outcome of messages that it received before the call. A
// second Disconnect has no effect, and the first cause stays.
func (f *Faults) Disconnect(cause error) { f.disconnect(cause, 0) }

// disconnect is Disconnect, with an automatic Connect after d unless d is 0.
func (f *Faults) disconnect(cause error, d time.Duration) {
	if cause == nil {
		cause = errDisconnected
	}
	f.mu.Lock()
	if f.cutCause == nil && f.closing.Err() == nil {
		f.cutCause = cause
		f.broadcast()
		for _, s := range f.sessions {
			s.disconnect(f.failure(driver.CodeUnavailable, "subscribe", s.sub.Topic, "the connection was cut by a fault", cause))
		}
		f.notifier.enqueue(driver.Connection{State: driver.Disconnected, Cause: cause, Since: time.Now()})
		if d > 0 {
			f.reconnect = time.AfterFunc(d, f.Connect)
		}
	}
	f.mu.Unlock()
	f.notifier.notify(f)
}

// Connect ends a Disconnect; it has no effect while connected. The sessions of a group join the
// group again and continue at the committed offsets. Sessions without a group continue after the
// last record that they fetched.
func (f *Faults) Connect() {
	f.mu.Lock()
	if f.cutCause != nil && f.closing.Err() == nil {
		f.cutCause = nil
		if f.reconnect != nil {
			f.reconnect.Stop()
			f.reconnect = nil
		}
		f.broadcast()
		for _, s := range f.sessions {
			s.connect()
		}
		f.notifier.enqueue(f.notifier.inner)
	}
	f.mu.Unlock()
	f.notifier.notify(f)
}

// broadcast wakes the goroutines that wait for the connection. The caller holds mu.
func (f *Faults) broadcast() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Ready implements [driver.Transport]. While disconnected it waits for the connection first.
func (f *Faults) Ready(ctx context.Context) error {
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		err := f.checkConnected("ready", "")
		if err == nil {
			return f.inner.Ready(ctx)
		}
		select {
		case <-changed:
		case <-f.closing.Done():
		case <-ctx.Done():
			return err
		}
	}
}

// Ping implements [driver.Transport]. It returns an Unavailable error while disconnected.
func (f *Faults) Ping(ctx context.Context) error {
	if err := f.checkConnected("ping", ""); err != nil {
		return err
	}
	return f.inner.Ping(ctx)
}

// Observe implements [driver.Transport]. The observer gets the states of the wrapped transport, and
// Disconnected while a fault has cut the connection.
func (f *Faults) Observe(observe func(driver.Connection)) {
	f.mu.Lock()
	f.notifier.observe = observe
	if f.cutCause != nil {
		f.notifier.enqueue(driver.Connection{State: driver.Disconnected, Cause: f.cutCause, Since: time.Now()})
	}
	f.mu.Unlock()
	f.inner.Observe(func(c driver.Connection) {
		f.mu.Lock()
		f.notifier.inner = c
		if f.cutCause == nil {
			f.notifier.enqueue(c)
		}
		f.mu.Unlock()
		f.notifier.notify(f)
	})
}

// notifier calls the observer with each state, in order, one call at a time. Faults.mu guards all
// fields but calling. It is not held during a call, because the observer may call Faults.
type notifier struct {
	observe func(driver.Connection)
	inner   driver.Connection // the latest state of the wrapped transport
	queue   []driver.Connection
	running bool
	stopped bool
	calling sync.Mutex // held during a call of observe
}

// enqueue adds a state. The caller holds Faults.mu, and calls notify after releasing it.
func (n *notifier) enqueue(c driver.Connection) {
	if n.observe != nil && !n.stopped {
		n.queue = append(n.queue, c)
	}
}

// notify calls the observer with the queued states. If another goroutine is doing that, it returns
// at once, and the other goroutine handles the new states too.
func (n *notifier) notify(f *Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n.running {
		return
	}
	n.running = true
	for len(n.queue) > 0 {
		c := n.queue[0]
		n.queue = n.queue[1:]
		f.mu.Unlock()
		n.call(f, c)
		f.mu.Lock()
	}
	n.running = false
}

func (n *notifier) call(f *Faults, c driver.Connection) {
	n.calling.Lock()
	defer n.calling.Unlock()
	f.mu.Lock()
	stopped := n.stopped
	f.mu.Unlock()
	if !stopped {
		n.observe(c)
	}
}

// stop prevents further calls, and waits for a running one.
func (n *notifier) stop(f *Faults) {
	f.mu.Lock()
	n.stopped, n.queue = true, nil
	f.mu.Unlock()
	n.calling.Lock()
	defer n.calling.Unlock()
}
