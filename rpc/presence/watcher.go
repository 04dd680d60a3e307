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

// maxInstances bounds what a watcher keeps.
const maxInstances = 10_000

// Watcher knows who is there. All methods are safe for concurrent use.
type Watcher struct {
	bus    *bus.Bus
	cfg    *config
	cancel context.CancelFunc
	ended  chan struct{} // closed by run, last of all

	mu      sync.Mutex
	known   map[string]*member // by service and id
	serving map[string]int     // instances by topic
	since   time.Time          // when it began to hear, without a break; zero when it does not
	cause   error              // why it does not
	changed chan struct{}      // closed and replaced when one of the former changes
	over    bool               // run has ended
	sub     *bus.Subscription  // nil while there is none

	skip bool // run's: the last subscription ended at a record that is no message
}

type member struct {
	Instance
	expiry *time.Timer
	until  time.Time
}

// Watch begins to watch on b, which it does not take over: close the watcher first. It
// waits for nothing; Ready does.
func Watch(b *bus.Bus, opts ...Option) (*Watcher, error) {
	cfg, err := configure(opts)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, errors.New("presence: the bus is nil")
	}
	w := &Watcher{bus: b, cfg: cfg, ended: make(chan struct{}), changed: make(chan struct{}),
		known: map[string]*member{}, serving: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go w.run(ctx)
	return w, nil
}

// Ready waits until announcements are heard, or ctx ends: then it says why not yet.
func (w *Watcher) Ready(ctx context.Context) error {
	for {
		w.mu.Lock()
		since, over, cause, changed := w.since, w.over, w.cause, w.changed
		w.mu.Unlock()
		switch {
		case !since.IsZero():
			return nil
		case over:
			return fmt.Errorf("presence: the watcher is closed: %w", errors.Join(cause, &bus.Error{Code: bus.CodeClosed, Op: "watch", Topic: w.cfg.spec.Name}))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("presence: nothing is heard yet: %w", errors.Join(ctx.Err(), cause))
		}
	}
}

// Since returns when it began to hear announcements without a break, as far as that is
// known: zero while it does not. After an interval, three to be sure, it knows of
// everybody who is there.
func (w *Watcher) Since() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since
}

// Instances returns those that are there, of one service or with "" of all, in the
// order of their services and ids.
func (w *Watcher) Instances(service string) []Instance {
	w.mu.Lock()
	all := make([]Instance, 0, len(w.known))
	for _, m := range w.known {
		if service == "" || m.Service == service {
			all = append(all, m.Instance.clone())
		}
	}
	w.mu.Unlock()
	slices.SortFunc(all, compareInstances)
	return all
}

// Serving returns how many instances there are that serve the topic.
func (w *Watcher) Serving(topic string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.serving[topic]
}

// Changed returns a channel that is closed at the next change of what the other
// methods return.
func (w *Watcher) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// Close ends the watching; what is known stays as it is. It is idempotent, and fails
// when ctx ends first.
func (w *Watcher) Close(ctx context.Context) error {
	w.cancel()
	select {
	case <-w.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("presence: the watcher did not end in time: %w", ctx.Err())
	}
}

// run keeps a subscription until ctx ends or the bus is closed.
func (w *Watcher) run(ctx context.Context) {
	defer close(w.ended)
	defer w.finish()
	pause := 100 * time.Millisecond
	for {
		heard, err := w.hear(ctx)
		if ctx.Err() != nil || bus.CodeOf(err) == bus.CodeClosed {
			w.set(time.Time{}, err)
			return
		}
		if heard {
			pause = 100 * time.Millisecond
		}
		w.set(time.Time{}, err)
		w.cfg.logger.Warn("announcements can't be heard", "topic", w.cfg.spec.Name, "error", err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		pause = min(2*pause, 5*time.Second)
	}
}

// hear subscribes, and returns when that has ended.
func (w *Watcher) hear(ctx context.Context) (heard bool, err error) {
	making, cancel := context.WithTimeout(ctx, 30*time.Second)
	err = w.bus.EnsureTopic(making, w.cfg.spec)
	cancel()
	if err != nil {
		return false, err
	}
	start := bus.FromNewest()
	if w.bus.Capabilities().Replay && !w.skip {
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
	// A break in between is not seen here, and harmless: what was missed is read when
	// the subscription goes on, where there is a log.
	w.mu.Lock()
	w.sub = sub
	w.mu.Unlock()
	if err = sub.Ready(ctx); err == nil {
		heard = true
		w.set(time.Now(), nil)
	}
	<-sub.Done() // it ends with ctx too
	if e := sub.Err(); e != nil {
		w.skip = bus.CodeOf(e) == bus.CodeUndecodable
		return heard, e
	}
	return heard, &bus.Error{Code: bus.CodeClosed, Op: "watch", Topic: w.cfg.spec.Name, Reason: "the bus is being closed"}
}

func (w *Watcher) handle(_ context.Context, d *bus.Delivery) error {
	a, err := Decode(d.Message())
	if err != nil {
		w.cfg.logger.Debug("not an announcement", "topic", d.Record.Topic, "offset", d.Record.Offset, "error", err)
		return nil
	}
	w.apply(a)
	return nil
}

func (w *Watcher) apply(a Announcement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() && w.sub != nil { // see expire
		w.since = time.Now()
		w.tell()
	}
	key := a.Service + "/" + a.ID
	m := w.known[key]
	switch {
	case a.Gone:
		if m != nil {
			w.forget(key, m)
			w.tell()
		}
		return
	case m == nil && len(w.known) >= maxInstances:
		w.cfg.logger.Warn("an instance is not taken note of: there are too many", "limit", maxInstances, "service", a.Service, "instance", a.ID)
		return
	case m == nil:
		m = &member{}
		w.known[key] = m
		m.expiry = time.AfterFunc(a.TTL, func() { w.expire(key, m) })
	default:
		m.expiry.Reset(a.TTL)
	}
	m.until = time.Now().Add(a.TTL)
	same := m.ID != "" && slices.Equal(m.Topics, a.Topics) && m.Version == a.Version && m.Started.Equal(a.Started)
	w.count(m.Topics, -1)
	m.Instance = a.Instance
	w.count(m.Topics, +1)
	if !same {
		w.tell()
	}
}

func (w *Watcher) expire(key string, m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.known[key] != m || time.Now().Before(m.until) {
		return
	}
	if w.sub != nil { // announcements may come before hear has it
		if assigned, cause := w.sub.Assigned(); !assigned {
			// Nobody is heard now. What is known begins anew with the next that is.
			w.since, w.cause = time.Time{}, cause
		}
	}
	w.forget(key, m)
	w.tell()
}

// forget and count: mu is held.
func (w *Watcher) forget(key string, m *member) {
	m.expiry.Stop()
	w.count(m.Topics, -1)
	delete(w.known, key)
}

func (w *Watcher) count(topics []string, by int) {
	for _, t := range topics {
		if w.serving[t] += by; w.serving[t] == 0 {
			delete(w.serving, t)
		}
	}
}

// tell wakes those who wait for a change. mu is held.
func (w *Watcher) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *Watcher) set(since time.Time, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.cause = since, cause
	w.tell()
}

// finish stops the clocks; what is known stays.
func (w *Watcher) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	for _, m := range w.known {
		m.expiry.Stop()
	}
	w.tell()
}
