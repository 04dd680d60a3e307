package liveness

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

// watcher is a hook that records the events of one bus. Its methods keep the latest event
// of each kind. They never block.
type watcher struct {
	// epoch is when the watcher was made. The atomic fields count nanoseconds since then; 0
	// means never.
	epoch time.Time
	// heard is the time of the last sign of life. proven is the latest time at which the
	// broker certainly worked: an operation that took a while proves only that the broker
	// worked at some time after it began.
	heard, proven atomic.Int64
	// doubted is the time of the last failure that may mean that the broker is lost.
	doubted atomic.Int64
	// eager reports whether a sign of life wakes the monitor. It is false while the bus is
	// live and no ping was missed, so that publishing does not wake the monitor.
	eager    atomic.Bool
	signaled atomic.Int64  // when the last failure woke the monitor
	wake     chan struct{} // holds one token when the monitor must make a decision

	mu         sync.Mutex
	connection driver.Connection
	connAt     time.Time // when it was reported; zero for never
	loss       error
	lossAt     time.Time
	refusal    error
	refusedAt  time.Time
	subs       subscriptions
}

var (
	_ hook.Publish    = (*watcher)(nil)
	_ hook.Delivery   = (*watcher)(nil)
	_ hook.Session    = (*watcher)(nil)
	_ hook.Connection = (*watcher)(nil)
	_ hook.Commit     = (*watcher)(nil)
)

func newWatcher(allRequired bool) *watcher {
	return &watcher{epoch: time.Now().Add(-time.Nanosecond), wake: make(chan struct{}, 1), subs: subscriptions{allRequired: allRequired}}
}

// OnPublish implements hook.Publish.
func (w *watcher) OnPublish(e hook.PublishEvent) {
	if e.Outcome.Err != nil {
		w.failed(e.Outcome.Err)
		return
	}
	now := w.now()
	w.alive(now, now-int64(e.Duration))
}

// OnDelivery implements hook.Delivery. The result of the handler does not matter. The
// delivery proves that the broker worked when the record was published, and no more: the
// record may have waited in a buffer of this process since.
func (w *watcher) OnDelivery(e hook.DeliveryEvent) {
	if e.Record == nil || e.Record.Timestamp.IsZero() {
		return
	}
	now := time.Now()
	age := max(now.Sub(e.Record.Timestamp), e.Duration) // the clock of the publisher may be ahead
	at := int64(now.Sub(w.epoch) - age)
	w.alive(at, at)
}

// OnCommit implements hook.Commit.
func (w *watcher) OnCommit(e hook.CommitEvent) {
	if e.Err != nil {
		w.failed(e.Err)
		return
	}
	w.alive(w.now(), 0) // the commit may have begun long ago, so proven does not change
}

// OnConnection implements hook.Connection.
func (w *watcher) OnConnection(c driver.Connection) {
	now := w.now()
	w.mu.Lock()
	w.connection, w.connAt = c, w.at(now)
	w.mu.Unlock()
	if c.State == driver.Connected {
		w.alive(now, now)
	}
	w.signal()
}

// OnSession implements hook.Session.
func (w *watcher) OnSession(e hook.SessionEvent) {
	w.mu.Lock()
	w.subs.follow(e)
	w.mu.Unlock()
	switch {
	case e.Assigned:
		w.alive(w.now(), 0)
	case e.Cause != nil && !e.Ended:
		w.failed(e.Cause)
	}
	w.signal()
}

func (w *watcher) require(sub *bus.Subscription) {
	w.mu.Lock()
	w.subs.require(sub)
	w.mu.Unlock()
	w.signal()
}

func (w *watcher) ignore(sub *bus.Subscription) {
	w.mu.Lock()
	w.subs.ignore(sub)
	w.mu.Unlock()
	w.signal()
}

// active returns the known subscriptions that have not ended.
func (w *watcher) active() []*bus.Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.subs.active()
}

// alive records a sign of life at the time heard. It proves that the broker worked at the
// time proven or later.
func (w *watcher) alive(heard, proven int64) {
	advance(&w.heard, heard)
	advance(&w.proven, proven)
	if w.eager.Load() {
		w.signal()
	}
}

// failed records an error, if its meaning concerns the broker.
func (w *watcher) failed(err error) {
	now := w.now()
	switch meaningOf(err) {
	case refusal:
		w.mu.Lock()
		w.refusal, w.refusedAt = err, w.at(now)
		w.mu.Unlock()
	case loss:
		w.mu.Lock()
		w.loss, w.lossAt = err, w.at(now)
		w.mu.Unlock()
		advance(&w.doubted, now)
	case doubt:
		advance(&w.doubted, now)
	default:
		return
	}
	// Wake the monitor at most once in a millisecond, however many operations fail. The
	// monitor makes a decision at least once in a live interval anyway.
	if last := w.signaled.Load(); last == 0 || now-last >= int64(time.Millisecond) {
		w.signaled.Store(now)
		w.signal()
	}
}

func (w *watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) now() int64 { return int64(time.Since(w.epoch)) }

func (w *watcher) at(n int64) time.Time {
	if n <= 0 {
		return time.Time{}
	}
	return w.epoch.Add(time.Duration(n))
}

// advance sets a to n, unless a is at n or later.
func advance(a *atomic.Int64, n int64) {
	for {
		old := a.Load()
		if n <= old || a.CompareAndSwap(old, n) {
			return
		}
	}
}

// facts returns what the watcher has recorded until now.
func (w *watcher) facts() facts {
	w.mu.Lock()
	f := facts{
		connection: w.connection, connAt: w.connAt,
		loss: w.loss, lossAt: w.lossAt,
		refusal: w.refusal, refusedAt: w.refusedAt,
	}
	required := w.subs.required()
	w.mu.Unlock()
	f.heard, f.proven, f.doubted = w.at(w.heard.Load()), w.at(w.proven.Load()), w.at(w.doubted.Load())
	for _, r := range required {
		f.subs = append(f.subs, r.fact())
	}
	return f
}
