package bustest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

var errCut = errors.New("a test cut the connection")

// Disconnect cuts the bus off from its broker, with cause, or a plain one when cause
// is nil. Until [Faults.Connect]:
//
//   - Publish, Ping and administration fail with Unavailable; nothing is sent
//   - the observer is told Disconnected
//   - every session loses its assignment
//   - claims of a group end, commit nothing more, and go to other members once their
//     handlers have returned
//   - claims without a group stay, and their Fetch waits
//
// What was handed over before is the transport's to tell. Disconnecting twice keeps
// the first cause.
func (f *Faults) Disconnect(cause error) { f.disconnect(cause, 0) }

func (f *Faults) disconnect(cause error, d time.Duration) {
	if cause == nil {
		cause = errCut
	}
	f.mu.Lock()
	if f.away == nil && f.closing.Err() == nil {
		f.away = cause
		f.broadcast()
		for _, s := range f.sessions {
			s.lose(f.failure(driver.CodeUnavailable, "subscribe", s.sub.Topic, "the connection was cut by a fault", cause))
		}
		f.observer.tell(driver.Connection{State: driver.Disconnected, Cause: cause, Since: time.Now()})
		if d > 0 {
			f.back = time.AfterFunc(d, f.Connect)
		}
	}
	f.mu.Unlock()
	f.observer.run(f)
}

// Connect ends what Disconnect began. Sessions of a group join again and go on at
// the committed positions; those without one go on after the last record they
// fetched.
func (f *Faults) Connect() {
	f.mu.Lock()
	if f.away != nil && f.closing.Err() == nil {
		f.away = nil
		if f.back != nil {
			f.back.Stop()
			f.back = nil
		}
		f.broadcast()
		for _, s := range f.sessions {
			s.regain()
		}
		f.observer.tell(f.observer.inner)
	}
	f.mu.Unlock()
	f.observer.run(f)
}

// broadcast is called with mu held.
func (f *Faults) broadcast() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Ready waits until the connection is not cut, then for the transport.
func (f *Faults) Ready(ctx context.Context) error {
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		err := f.reach("ready", "")
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

// Ping is the transport's; Unavailable while the connection is cut.
func (f *Faults) Ping(ctx context.Context) error {
	if err := f.reach("ping", ""); err != nil {
		return err
	}
	return f.inner.Ping(ctx)
}

// Observe registers the observer; it sees the transport's states, and Disconnected
// while the connection is cut.
func (f *Faults) Observe(observe func(driver.Connection)) {
	f.mu.Lock()
	f.observer.observe = observe
	if f.away != nil {
		f.observer.tell(driver.Connection{State: driver.Disconnected, Cause: f.away, Since: time.Now()})
	}
	f.mu.Unlock()
	f.inner.Observe(func(c driver.Connection) {
		f.mu.Lock()
		f.observer.inner = c
		if f.away == nil {
			f.observer.tell(c)
		}
		f.mu.Unlock()
		f.observer.run(f)
	})
}

// observer tells states to who observes, in order and one at a time. Guarded by
// Faults.mu, but for telling.
type observer struct {
	observe func(driver.Connection)
	inner   driver.Connection // the transport's latest
	news    []driver.Connection
	running bool
	ended   bool
	telling sync.Mutex // held while observe runs
}

// tell is called with Faults.mu held, and followed by run without it.
func (o *observer) tell(c driver.Connection) {
	if o.observe != nil && !o.ended {
		o.news = append(o.news, c)
	}
}

// run tells the news, unless another goroutine is at it: that one then tells these too.
func (o *observer) run(f *Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.running {
		return
	}
	o.running = true
	for len(o.news) > 0 {
		c := o.news[0]
		o.news = o.news[1:]
		f.mu.Unlock()
		o.once(f, c)
		f.mu.Lock()
	}
	o.running = false
}

func (o *observer) once(f *Faults, c driver.Connection) {
	o.telling.Lock()
	defer o.telling.Unlock()
	f.mu.Lock()
	ended := o.ended
	f.mu.Unlock()
	if !ended {
		o.observe(c)
	}
}

// end lets no call through any more, and waits for one that runs.
func (o *observer) end(f *Faults) {
	f.mu.Lock()
	o.ended, o.news = true, nil
	f.mu.Unlock()
	o.telling.Lock()
	defer o.telling.Unlock()
}
