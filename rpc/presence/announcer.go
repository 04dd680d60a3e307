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

// Announcer announces one instance until it is closed. All methods are safe for
// concurrent use.
type Announcer struct {
	bus    *bus.Bus
	cfg    *config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	ended  chan struct{} // closed by run, last of all
	news   chan struct{} // holds a token when the instance has changed

	mu       sync.Mutex
	instance Instance
	told     bool // an announcement may have been read
}

// Announce begins to announce i on b, which it does not take over: close the announcer
// first. It waits for nothing: the topic is created in the background, and both are
// tried again while the broker is away. It fails when i breaks a bound.
func Announce(b *bus.Bus, i Instance, opts ...Option) (*Announcer, error) {
	cfg, err := configure(opts)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, errors.New("presence: the bus is nil")
	}
	if i.Started.IsZero() {
		i.Started = time.Now()
	}
	a := &Announcer{bus: b, cfg: cfg, instance: i.clone(), ended: make(chan struct{}), news: make(chan struct{}, 1)}
	if _, err := a.announcement(false).Encode(); err != nil {
		return nil, err
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	go a.run()
	return a, nil
}

// SetTopics changes what the instance serves, and announces that at once. It fails,
// and changes nothing, when a bound is broken.
func (a *Announcer) SetTopics(topics ...string) error {
	a.mu.Lock()
	changed := a.instance.clone()
	changed.Topics = append([]string(nil), topics...)
	if _, err := (Announcement{Instance: changed, TTL: a.cfg.ttl()}).Encode(); err != nil {
		a.mu.Unlock()
		return err
	}
	a.instance = changed
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
	return nil
}

// Close takes the announcement back, which it waits for under ctx, and fails when that
// can't be done: then watchers forget the instance after its time to live. It is
// idempotent, in that a later call finds nothing to do.
func (a *Announcer) Close(ctx context.Context) error {
	a.cancel()
	select {
	case <-a.ended:
	case <-ctx.Done():
		return fmt.Errorf("presence: the announcer did not end in time: %w", ctx.Err())
	}
	a.mu.Lock()
	told := a.told
	a.told = false
	a.mu.Unlock()
	if !told {
		return nil
	}
	if err := a.publish(ctx, true); err != nil {
		return fmt.Errorf("presence: take back the announcement: %w", err)
	}
	return nil
}

func (a *Announcer) announcement(gone bool) Announcement {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Announcement{Instance: a.instance.clone(), Gone: gone, TTL: a.cfg.ttl()}
}

func (a *Announcer) run() {
	defer close(a.ended)
	for made := false; ; {
		err := a.once(&made)
		if a.ctx.Err() != nil || bus.CodeOf(err) == bus.CodeClosed {
			return
		}
		if err != nil {
			made = false // the topic may have been deleted
			a.cfg.logger.Warn("the instance can't be announced", "topic", a.cfg.spec.Name, "error", err)
		}
		// Instances that were started together shall not announce themselves together.
		t := time.NewTimer(a.cfg.interval - rand.N(a.cfg.interval/5))
		select {
		case <-t.C:
		case <-a.news:
		case <-a.ctx.Done():
		}
		t.Stop()
		if a.ctx.Err() != nil {
			return
		}
	}
}

func (a *Announcer) once(made *bool) error {
	ctx, cancel := context.WithTimeout(a.ctx, max(a.cfg.interval, 10*time.Second))
	defer cancel()
	if !*made {
		if err := a.bus.EnsureTopic(ctx, a.cfg.spec); err != nil {
			return err
		}
		*made = true
	}
	a.mu.Lock()
	a.told = true
	a.mu.Unlock()
	return a.publish(ctx, false)
}

func (a *Announcer) publish(ctx context.Context, gone bool) error {
	m, err := a.announcement(gone).Encode()
	if err != nil {
		return err
	}
	m.SetContext(delivery.ExistingTopic(ctx))
	return a.bus.Publish(a.cfg.spec.Name, m)
}
