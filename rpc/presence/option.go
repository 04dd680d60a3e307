package presence

import (
	"errors"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// DefaultTopic is where instances announce themselves.
const DefaultTopic = "trunkline.presence"

// Option configures an Announcer or a Watcher.
type Option func(*config) error

type config struct {
	spec     bus.TopicSpec
	interval time.Duration
	logger   *slog.Logger
}

// ttl is how long an announcement holds: three may be lost or late.
func (c *config) ttl() time.Duration { return 3*c.interval + time.Second }

func configure(opts []Option) (*config, error) {
	c := &config{spec: bus.TopicSpec{Name: DefaultTopic, Partitions: 1}, interval: 3 * time.Second, logger: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		if err := o(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Topic sets the topic of the announcements, which is created where topics are and it
// is missing. Who announces and who watches must name the same one. An empty Name is
// DefaultTopic, 0 Partitions are one. Keep the log short where it is kept: nobody
// reads back more than an hour.
func Topic(spec bus.TopicSpec) Option {
	return func(c *config) error {
		if spec.Name == "" {
			spec.Name = DefaultTopic
		}
		if spec.Partitions == 0 {
			spec.Partitions = 1
		}
		c.spec = spec
		return nil
	}
}

// Interval sets how often an instance announces itself, give or take a tenth, and how
// often watchers are to expect it. From 100 ms to 10 minutes; default 3 s.
func Interval(d time.Duration) Option {
	return func(c *config) error {
		if d < 100*time.Millisecond || d > 10*time.Minute {
			return errors.New("presence: the interval is not from 100 ms to 10 minutes")
		}
		c.interval = d
		return nil
	}
}

// WithLogger sets where is logged why nothing can be announced or heard. By default
// nothing is.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return errors.New("presence: the logger is nil")
		}
		c.logger = l
		return nil
	}
}
