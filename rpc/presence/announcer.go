package presence

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
)

// closeTimeout bounds Close of announcers and watchers.
const closeTimeout = 10 * time.Second

// Announcer announces one instance until it is closed. All methods are safe for concurrent
// use.
type Announcer struct {
	bus     *bus.Bus
	cfg     *config
	ctx     context.Context // ends when Shutdown begins
	cancel  context.CancelFunc
	ended   chan struct{} // closed at the end of run
	updated chan struct{} // holds a token when the instance has changed

	mu        sync.Mutex
	instance  Instance
	published bool // watchers may list the instance
}

// NewAnnouncer starts to announce i on b. The announcer does not own b: close the announcer
// first. NewAnnouncer does not wait for a broker: the announcer creates the topic in the
// background, and tries again while the broker is unavailable. It returns an error if i has
// no service name or id, or is too large.
func NewAnnouncer(b *bus.Bus, i Instance, opts ...Option) (*Announcer, error) {
	if b == nil {
		return nil, errors.New("presence: NewAnnouncer: the bus must not be nil")
	}
	cfg, err := configure(b, opts)
	if err != nil {
		return nil, err
	}
	if i.Started.IsZero() {
		i.Started = time.Now()
	}
	a := &Announcer{bus: b, cfg: cfg, instance: i.clone(), ended: make(chan struct{}), updated: make(chan struct{}, 1)}
	if _, err := a.announcement(false).encode(); err != nil {
		return nil, err
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	go a.run() // Shutdown waits for it
	return a, nil
}

// SetTopics replaces the topics that the instance serves, and announces the change at once.
// If a topic is invalid or the announcement would be too large, it returns an error and
// changes nothing.
func (a *Announcer) SetTopics(topics ...string) error {
	a.mu.Lock()
	changed := a.instance.clone()
	changed.Topics = append([]string(nil), topics...)
	if _, err := (announcement{Instance: changed, ttl: a.cfg.ttl()}).encode(); err != nil {
		a.mu.Unlock()
		return err
	}
	a.instance = changed
	a.mu.Unlock()
	select {
	case a.updated <- struct{}{}:
	default:
	}
	return nil
}

// Shutdown stops the announcer, and announces that the instance has left. If it returns an
// error, because ctx has ended or the broker is unavailable, watchers list the instance
// until its time to live has passed. After Shutdown has tried to announce that the instance
// has left, a further call does nothing and returns nil.
func (a *Announcer) Shutdown(ctx context.Context) error {
	a.cancel()
	select {
	case <-a.ended:
	case <-ctx.Done():
		return fmt.Errorf("presence: the announcer did not end in time: %w", ctx.Err())
	}
	a.mu.Lock()
	published := a.published
	a.published = false
	a.mu.Unlock()
	if !published {
		return nil
	}
	if err := a.publish(ctx, true); err != nil {
		return fmt.Errorf("presence: withdraw the announcement: %w", err)
	}
	return nil
}

// Close is Shutdown with a bound of ten seconds.
func (a *Announcer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return a.Shutdown(ctx)
}

func (a *Announcer) announcement(gone bool) announcement {
	a.mu.Lock()
	defer a.mu.Unlock()
	return announcement{Instance: a.instance.clone(), gone: gone, ttl: a.cfg.ttl()}
}

func (a *Announcer) run() {
	defer close(a.ended)
	for created := false; ; {
		err := a.announce(&created)
		if a.ctx.Err() != nil || bus.CodeOf(err) == bus.CodeClosed {
			return
		}
		if err != nil {
			created = false // the topic may have been deleted
			a.cfg.logger.Warn("presence: the instance cannot be announced", "topic", a.cfg.spec.Name, "error", err)
		}
		// A random part spreads the announcements of instances that started together.
		t := time.NewTimer(a.cfg.interval - rand.N(a.cfg.interval/5))
		select {
		case <-t.C:
		case <-a.updated:
		case <-a.ctx.Done():
		}
		t.Stop()
		if a.ctx.Err() != nil {
			return
		}
	}
}

// announce publishes one announcement. It creates the topic first unless *created is true.
func (a *Announcer) announce(created *bool) error {
	ctx, cancel := context.WithTimeout(a.ctx, max(a.cfg.interval, 10*time.Second))
	defer cancel()
	if !*created {
		if err := a.bus.EnsureTopic(ctx, a.cfg.spec); err != nil {
			return err
		}
		*created = true
	}
	a.mu.Lock()
	a.published = true
	a.mu.Unlock()
	return a.publish(ctx, false)
}

func (a *Announcer) publish(ctx context.Context, gone bool) error {
	r, err := a.announcement(gone).encode()
	if err != nil {
		return err
	}
	r.Topic = a.cfg.spec.Name
	outcome := make(chan error, 1)
	a.bus.PublishRecord(delivery.ExistingTopic(ctx), r, func(o bus.Outcome) { outcome <- o.Err })
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
