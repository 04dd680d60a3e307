package liveness

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Watcher sees what happens on one bus: give it to bus.New with bus.WithHooks, and
// then to New. All methods may be called concurrently. They record the latest of
// each kind and return; they never block, whether a monitor reads it or not.
type Watcher struct {
	// epoch is when it was made; the atomics count nanoseconds from there, 0 being
	// never.
	epoch time.Time
	// heard is the last sign of life. proven is the latest time at which the broker
	// was certainly there: what took a while proves no more than that it was there
	// when it began, or later.
	heard, proven atomic.Int64
	// doubted is the last sign of loss, or of less.
	doubted atomic.Int64
	// eager: the monitor waits for a sign of life. When all is well it doesn't, and
	// publishing costs no wake-up.
	eager    atomic.Bool
	signaled atomic.Int64  // when the last sign of loss woke the monitor
	wake     chan struct{} // holds one token when there is news

	monitored atomic.Bool

	mu         sync.Mutex
	connection bus.Connection
	connAt     time.Time // when it was told; zero for never
	loss       error
	lossAt     time.Time
	refusal    error
	refusedAt  time.Time
	all        bool         // every subscription is required
	subs       []*subRecord // in the order they were first seen
}

// subRecord is a subscription that lives, or is required.
type subRecord struct {
	sub      *bus.Subscription
	required bool
	ended    bool
	cause    error // why it ended
}

var (
	_ bus.PublishHook    = (*Watcher)(nil)
	_ bus.DeliveryHook   = (*Watcher)(nil)
	_ bus.SessionHook    = (*Watcher)(nil)
	_ bus.ConnectionHook = (*Watcher)(nil)
	_ bus.CommitHook     = (*Watcher)(nil)
)

// NewWatcher makes a watcher, for one bus and one monitor.
func NewWatcher() *Watcher {
	return &Watcher{epoch: time.Now().Add(-time.Nanosecond), wake: make(chan struct{}, 1)}
}

// OnPublish implements bus.PublishHook.
func (w *Watcher) OnPublish(e bus.PublishEvent) {
	if e.Outcome.Err != nil {
		w.failed(e.Outcome.Err)
		return
	}
	now := w.now()
	w.alive(now, now-int64(e.Duration))
}

// OnDelivery implements bus.DeliveryHook. What the handler made of the message is
// no matter. That it was delivered proves that the broker was there when the record
// was published, or later; with a backlog in our buffers, no more.
func (w *Watcher) OnDelivery(e bus.DeliveryEvent) {
	if e.Record == nil || e.Record.Timestamp.IsZero() {
		return
	}
	now := time.Now()
	age := max(now.Sub(e.Record.Timestamp), e.Duration) // a clock ahead of ours proves nothing
	at := int64(now.Sub(w.epoch) - age)
	w.alive(at, at)
}

// OnCommit implements bus.CommitHook.
func (w *Watcher) OnCommit(e bus.CommitEvent) {
	if e.Err != nil {
		w.failed(e.Err)
		return
	}
	w.alive(w.now(), 0) // it may have begun long ago
}

// OnConnection implements bus.ConnectionHook.
func (w *Watcher) OnConnection(c bus.Connection) {
	now := w.now()
	w.mu.Lock()
	w.connection, w.connAt = c, w.at(now)
	w.mu.Unlock()
	if c.State == bus.Connected {
		w.alive(now, now)
	}
	w.signal()
}

// OnSession implements bus.SessionHook.
func (w *Watcher) OnSession(e bus.SessionEvent) {
	w.mu.Lock()
	w.follow(e)
	w.mu.Unlock()
	switch {
	case e.Assigned:
		w.alive(w.now(), 0)
	case e.Cause != nil && !e.Ended:
		w.failed(e.Cause)
	}
	w.signal()
}

// follow keeps subs: those that live, and those required. mu is held.
func (w *Watcher) follow(e bus.SessionEvent) {
	i := w.find(e.Subscription)
	if i < 0 && !e.Ended {
		w.subs = append(w.subs, &subRecord{sub: e.Subscription})
		i = len(w.subs) - 1
	}
	if e.Assigned && w.all {
		// It takes the place of those of its kind that failed.
		w.subs = slices.DeleteFunc(w.subs, func(r *subRecord) bool {
			return r.ended && !r.required && r.sub.Topic() == e.Subscription.Topic() && r.sub.Group() == e.Subscription.Group()
		})
	}
	if !e.Ended || i < 0 {
		return
	}
	r := w.subs[i]
	r.ended, r.cause = true, e.Cause
	if !r.required && !(w.all && failure(r.cause)) {
		w.subs = slices.Delete(w.subs, i, i+1)
	}
}

// require notes that sub is required, or that it is not, or no longer.
func (w *Watcher) require(sub *bus.Subscription, required bool) {
	w.mu.Lock()
	i := w.find(sub)
	switch {
	case required && i < 0:
		w.subs = append(w.subs, &subRecord{sub: sub, required: true})
	case required:
		w.subs[i].required = true
	case i >= 0 && (w.subs[i].ended || ended(sub)):
		w.subs = slices.Delete(w.subs, i, i+1)
	case i >= 0:
		w.subs[i].required = false
	}
	w.mu.Unlock()
	w.signal()
}

// living returns the subscriptions that were seen and have not ended.
func (w *Watcher) living() []*bus.Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	var subs []*bus.Subscription
	for _, r := range w.subs {
		if !r.ended {
			subs = append(subs, r.sub)
		}
	}
	return subs
}

func (w *Watcher) find(sub *bus.Subscription) int {
	return slices.IndexFunc(w.subs, func(r *subRecord) bool { return r.sub == sub })
}

func ended(sub *bus.Subscription) bool {
	select {
	case <-sub.Done():
		return true
	default:
		return false
	}
}

// failure says whether a subscription that ended with cause won't recover by itself,
// rather than having been closed on purpose.
func failure(cause error) bool {
	if cause == nil {
		return false
	}
	code := bus.CodeOf(cause)
	return code != bus.CodeClosed && code != bus.CodeCanceled
}

// alive records a sign of life at heard, which proves that the broker was there at
// proven or later.
func (w *Watcher) alive(heard, proven int64) {
	advance(&w.heard, heard)
	advance(&w.proven, proven)
	if w.eager.Load() {
		w.signal()
	}
}

// failed records what an error means.
func (w *Watcher) failed(err error) {
	now := w.now()
	switch MeaningOf(err) {
	case Refusal:
		w.mu.Lock()
		w.refusal, w.refusedAt = err, w.at(now)
		w.mu.Unlock()
	case Loss:
		w.mu.Lock()
		w.loss, w.lossAt = err, w.at(now)
		w.mu.Unlock()
		advance(&w.doubted, now)
	case Doubt:
		advance(&w.doubted, now)
	default:
		return
	}
	// A flood of errors need not become one of wake-ups: the monitor looks every live
	// interval in any case.
	if last := w.signaled.Load(); last == 0 || now-last >= int64(time.Millisecond) {
		w.signaled.Store(now)
		w.signal()
	}
}

func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Watcher) now() int64 { return int64(time.Since(w.epoch)) }

func (w *Watcher) at(n int64) time.Time {
	if n <= 0 {
		return time.Time{}
	}
	return w.epoch.Add(time.Duration(n))
}

// advance sets a to n, unless it is there or further.
func advance(a *atomic.Int64, n int64) {
	for {
		old := a.Load()
		if n <= old || a.CompareAndSwap(old, n) {
			return
		}
	}
}

// seesConnection says whether the watcher was ever told of the connection, as a bus
// does when it is made.
func (w *Watcher) seesConnection() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.connAt.IsZero()
}

// facts returns what is known now.
func (w *Watcher) facts() facts {
	w.mu.Lock()
	f := facts{
		connection: w.connection, connAt: w.connAt,
		loss: w.loss, lossAt: w.lossAt,
		refusal: w.refusal, refusedAt: w.refusedAt,
	}
	var subs []subRecord
	for _, r := range w.subs {
		if r.required || w.all {
			subs = append(subs, *r)
		}
	}
	w.mu.Unlock()
	f.heard, f.proven, f.doubted = w.at(w.heard.Load()), w.at(w.proven.Load()), w.at(w.doubted.Load())
	for _, r := range subs {
		f.subs = append(f.subs, r.fact())
	}
	return f
}

func (r *subRecord) fact() subFact {
	s := subFact{sub: r.sub, topic: r.sub.Topic(), ended: r.ended, cause: r.cause}
	switch {
	case s.ended:
	case ended(r.sub): // before it was required: nobody told us
		s.ended, s.cause = true, r.sub.Err()
	default:
		s.assigned, s.cause = r.sub.Assigned()
	}
	return s
}
