package presence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// maxInstances bounds the list of a watcher.
const maxInstances = 10_000

// The pauses between attempts to read the announcements.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// Watcher lists the running instances. All methods are safe for concurrent use.
type Watcher struct {
	bus    *bus.Bus
	cfg    *config
	cancel context.CancelFunc
	ended  chan struct{} // closed at the end of run

	mu      sync.Mutex
	members map[string]*member // by service and id
	serving map[string]int     // the number of instances by topic
	since   time.Time          // since when announcements are read without interruption; zero if they are not
	cause   error              // why they are not
	changed chan struct{}      // closed and replaced when one of the fields above changes
	closed  bool               // run has ended
	sub     *bus.Subscription  // nil if there is none

	skipUndecodable bool // used by run only: the last subscription ended at an undecodable record
}

type member struct {
	Instance
	expiry *time.Timer
	until  time.Time
}

// NewWatcher starts to watch the announcements on b. The watcher does not own b: close the
// watcher first. NewWatcher does not wait for a broker; Ready does.
func NewWatcher(b *bus.Bus, opts ...Option) (*Watcher, error) {
	if b == nil {
		return nil, errors.New("presence: NewWatcher: the bus must not be nil")
	}
	cfg, err := configure(b, opts)
	if err != nil {
		return nil, err
	}
	w := &Watcher{bus: b, cfg: cfg, ended: make(chan struct{}), changed: make(chan struct{}),
		members: map[string]*member{}, serving: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go w.run(ctx) // Shutdown waits for it
	return w, nil
}

// Ready waits until the watcher reads announcements. If ctx ends first, the error of Ready
// has the reason.
func (w *Watcher) Ready(ctx context.Context) error {
	for {
		w.mu.Lock()
		since, closed, cause, changed := w.since, w.closed, w.cause, w.changed
		w.mu.Unlock()
		switch {
		case !since.IsZero():
			return nil
		case closed:
			return fmt.Errorf("presence: the watcher is closed: %w", errors.Join(cause, &bus.Error{Code: bus.CodeClosed, Op: "watch", Topic: w.cfg.spec.Name}))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("presence: the watcher does not read announcements yet: %w", errors.Join(ctx.Err(), cause))
		}
	}
}

// Since returns the time since which the watcher has read announcements without
// interruption, or the zero time while it does not read them. The list is complete one
// interval after that time. If announcements were lost, it is complete three intervals
// after that time.
func (w *Watcher) Since() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since
}

// Instances returns the running instances of a service, or of all services for "", sorted by
// service and id.
func (w *Watcher) Instances(service string) []Instance {
	w.mu.Lock()
	all := make([]Instance, 0, len(w.members))
	for _, m := range w.members {
		if service == "" || m.Service == service {
			all = append(all, m.Instance.clone())
		}
	}
	w.mu.Unlock()
	slices.SortFunc(all, compareInstances)
	return all
}

// Serving returns the number of instances that serve the topic.
func (w *Watcher) Serving(topic string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.serving[topic]
}

// Changed returns a channel that is closed when the result of Since, Instances or Serving
// changes. Call Changed before these methods, so that you do not miss a change.
func (w *Watcher) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// Shutdown stops the watcher. The list stays as it is. Shutdown returns an error if ctx ends
// first. It may be called several times.
func (w *Watcher) Shutdown(ctx context.Context) error {
	w.cancel()
	select {
	case <-w.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("presence: the watcher did not end in time: %w", ctx.Err())
	}
}

// Close is Shutdown with a bound of ten seconds.
func (w *Watcher) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return w.Shutdown(ctx)
}

// run reads announcements until ctx ends or the bus is closed.
func (w *Watcher) run(ctx context.Context) {
	defer close(w.ended)
	defer w.finish()
	pause := minPause
	for {
		ready, err := w.read(ctx)
		if ctx.Err() != nil || bus.CodeOf(err) == bus.CodeClosed {
			w.set(time.Time{}, err)
			return
		}
		if ready {
			pause = minPause
		}
		w.set(time.Time{}, err)
		w.cfg.logger.Warn("presence: announcements cannot be read", "topic", w.cfg.spec.Name, "error", err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		pause = min(2*pause, maxPause)
	}
}

// read subscribes to the topic, and returns when the subscription has ended. ready reports
// whether it was ready.
func (w *Watcher) read(ctx context.Context) (ready bool, err error) {
	preparing, cancel := context.WithTimeout(ctx, 30*time.Second)
	err = w.bus.EnsureTopic(preparing, w.cfg.spec)
	cancel()
	if err != nil {
		return false, err
	}
	start := bus.FromNewest()
	if w.bus.Capabilities().Replay && !w.skipUndecodable {
		start = bus.FromTime(time.Now().Add(-w.cfg.ttl()))
	}
	opts := []bus.SubscribeOption{bus.NoGroup(), start}
	if w.bus.Capabilities().Ordered {
		opts = append(opts, bus.OrderByPartition())
	}
	sub, err := w.bus.Consume(ctx, w.cfg.spec.Name, w.handle, opts...)
	if err != nil {
		return false, err
	}
	// The subscription recovers from interruptions by itself. On a transport with a log it
	// then reads the announcements that it has missed.
	w.mu.Lock()
	w.sub = sub
	w.mu.Unlock()
	if err = sub.Ready(ctx); err == nil {
		ready = true
		w.set(time.Now(), nil)
	}
	<-sub.Done() // ctx ends it too
	if e := sub.Err(); e != nil {
		w.skipUndecodable = bus.CodeOf(e) == bus.CodeUndecodable
		return ready, e
	}
	return ready, &bus.Error{Code: bus.CodeClosed, Op: "watch", Topic: w.cfg.spec.Name, Reason: "the bus is closing"}
}

func (w *Watcher) handle(_ context.Context, d *bus.Delivery) error {
	a, err := decode(d.Record)
	if err != nil {
		w.cfg.logger.Debug("presence: message ignored", "topic", d.Record.Topic, "offset", d.Record.Offset, "error", err)
		return nil
	}
	w.apply(a)
	return nil
}

func (w *Watcher) apply(a announcement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() && w.sub != nil { // see expire
		w.since = time.Now()
		w.notify()
	}
	key := a.Service + "/" + a.ID
	m := w.members[key]
	switch {
	case a.gone:
		if m != nil {
			w.remove(key, m)
			w.notify()
		}
		return
	case m == nil && len(w.members) >= maxInstances:
		w.cfg.logger.Warn("presence: instance ignored: the list is full", "limit", maxInstances, "service", a.Service, "instance", a.ID)
		return
	case m == nil:
		m = &member{}
		w.members[key] = m
		m.expiry = time.AfterFunc(a.ttl, func() { w.expire(key, m) })
	default:
		m.expiry.Reset(a.ttl)
	}
	m.until = time.Now().Add(a.ttl)
	same := m.ID != "" && slices.Equal(m.Topics, a.Topics) && m.Version == a.Version && m.Started.Equal(a.Started)
	w.count(m.Topics, -1)
	m.Instance = a.Instance
	w.count(m.Topics, +1)
	if !same {
		w.notify()
	}
}

// expire removes an instance whose time to live has passed.
func (w *Watcher) expire(key string, m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.members[key] != m || time.Now().Before(m.until) {
		return
	}
	if w.sub != nil { // announcements may arrive before read has stored it
		if assigned, cause := w.sub.Assigned(); !assigned {
			// The watcher reads no announcements now. apply sets since again at the next
			// one.
			w.since, w.cause = time.Time{}, cause
		}
	}
	w.remove(key, m)
	w.notify()
}

// remove removes an instance. w.mu is held.
func (w *Watcher) remove(key string, m *member) {
	m.expiry.Stop()
	w.count(m.Topics, -1)
	delete(w.members, key)
}

// count adds n to the number of instances of each topic. w.mu is held.
func (w *Watcher) count(topics []string, n int) {
	for _, t := range topics {
		if w.serving[t] += n; w.serving[t] == 0 {
			delete(w.serving, t)
		}
	}
}

// notify closes and replaces changed. w.mu is held.
func (w *Watcher) notify() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *Watcher) set(since time.Time, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.cause = since, cause
	w.notify()
}

// finish stops the timers. The list stays as it is.
func (w *Watcher) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, m := range w.members {
		m.expiry.Stop()
	}
	w.notify()
}
