package presence

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/seam"
)

// DefaultTopic is the topic of the announcements.
const DefaultTopic = "trunkline.presence"

// Option configures an [Announcer] or a [Watcher].
type Option func(*config) error

type config struct {
	spec     bus.TopicSpec
	interval time.Duration
	logger   *slog.Logger
}

// ttl is how long an announcement is valid. An instance stays listed if two announcements
// are lost or late.
func (c *config) ttl() time.Duration { return 3*c.interval + time.Second }

const (
	defaultInterval = 3 * time.Second
	minInterval     = 100 * time.Millisecond
	maxInterval     = 10 * time.Minute
)

func configure(b *bus.Bus, opts []Option) (*config, error) {
	c := &config{spec: bus.TopicSpec{Name: DefaultTopic, Partitions: 1}, interval: defaultInterval, logger: seam.Of(b).Logger()}
	for _, o := range opts {
		if err := o(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// WithTopic sets the topic of the announcements. Announcers and watchers must use the same
// topic. They create it if it does not exist and the transport creates topics. An empty
// Name means DefaultTopic, and 0 Partitions mean 1. A short retention is enough: a new
// watcher reads only the last three intervals and one second.
func WithTopic(spec bus.TopicSpec) Option {
	return func(c *config) error {
		spec.Name = cmp.Or(spec.Name, DefaultTopic)
		spec.Partitions = cmp.Or(spec.Partitions, 1)
		c.spec = spec
		return nil
	}
}

// WithInterval sets how often an announcer announces its instance, and how often a watcher
// expects announcements. The announcer shortens each interval by a random part of up to one
// fifth. d must be from 100 ms to 10 minutes. The default is 3 s.
func WithInterval(d time.Duration) Option {
	return func(c *config) error {
		if d < minInterval || d > maxInterval {
			return fmt.Errorf("presence: WithInterval: must be from %v to %v, got %v", minInterval, maxInterval, d)
		}
		c.interval = d
		return nil
	}
}

// WithLogger sets the logger for the errors that prevent announcements from being published
// or read. The default is the logger of the bus.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return errors.New("presence: WithLogger: the logger must not be nil")
		}
		c.logger = l
		return nil
	}
}
