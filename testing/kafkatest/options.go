package kafkatest

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// An Option configures [Start] or [Attach].
type Option func(*settings)

type topic struct {
	name       string
	partitions int
}

type settings struct {
	brokers           int
	port              int
	topics            []topic
	partitions        int
	autoCreate        bool
	minSessionTimeout time.Duration
}

func newSettings(opts []Option) settings {
	s := settings{brokers: 1, partitions: 1}
	for _, o := range opts {
		o(&s)
	}
	return s
}

// WithBrokers sets the number of brokers of the embedded cluster. Each has its own
// port. The default is 1.
func WithBrokers(n int) Option { return func(s *settings) { s.brokers = n } }

// WithPort makes the embedded broker listen on 127.0.0.1:port. Several brokers use
// port, port+1 and so on. The default is 0, which means any free port.
func WithPort(port int) Option { return func(s *settings) { s.port = port } }

// WithTopics creates topics with this number of partitions. 0 partitions means the
// number of [WithDefaultPartitions]. The option can be used more than once.
func WithTopics(partitions int, names ...string) Option {
	return func(s *settings) {
		for _, name := range names {
			s.topics = append(s.topics, topic{name, partitions})
		}
	}
}

// WithDefaultPartitions sets the number of partitions of topics that are created
// without a number. The default is 1.
func WithDefaultPartitions(n int) Option { return func(s *settings) { s.partitions = n } }

// WithAutoCreate makes a metadata request create the topics that it names. By default
// a deleted topic, or a topic with a misspelled name, stays unknown.
func WithAutoCreate() Option { return func(s *settings) { s.autoCreate = true } }

// WithMinSessionTimeout sets the shortest session time-out that the embedded broker
// accepts from a group member. The default is 6 s, as with a real broker.
func WithMinSessionTimeout(d time.Duration) Option {
	return func(s *settings) { s.minSessionTimeout = d }
}

func (s settings) validate() error {
	if s.brokers < 1 {
		return fmt.Errorf("WithBrokers(%d): must be at least 1", s.brokers)
	}
	if s.port < 0 || s.port+s.brokers-1 > 65535 {
		return fmt.Errorf("WithPort(%d) with %d brokers: ports must be from 1 to 65535, or 0 for any", s.port, s.brokers)
	}
	if s.minSessionTimeout < 0 {
		return fmt.Errorf("WithMinSessionTimeout(%v): must not be negative", s.minSessionTimeout)
	}
	return s.validateTopics()
}

func (s settings) validateAttach() error {
	if s.port != 0 || s.autoCreate || s.minSessionTimeout != 0 {
		return fmt.Errorf("%w: WithPort, WithAutoCreate and WithMinSessionTimeout are for an embedded broker", ErrUnsuitable)
	}
	return s.validateTopics()
}

func (s settings) validateTopics() error {
	if s.partitions < 1 {
		return fmt.Errorf("WithDefaultPartitions(%d): must be at least 1", s.partitions)
	}
	for _, t := range s.topics {
		if t.name == "" {
			return errors.New("WithTopics: the name of a topic must not be empty")
		}
		if t.partitions < 0 {
			return fmt.Errorf("WithTopics(%d, %q): must have at least 1 partition, or 0 for the default", t.partitions, t.name)
		}
	}
	return nil
}

func (s settings) kfake(ls *listeners) []kfake.Opt {
	ports := make([]int, s.brokers)
	for i := range ports {
		if s.port != 0 {
			ports[i] = s.port + i
		}
	}
	opts := []kfake.Opt{
		kfake.Ports(ports...),
		kfake.ListenFn(ls.listen),
		kfake.DefaultNumPartitions(s.partitions),
	}
	for _, t := range s.topics {
		opts = append(opts, kfake.SeedTopics(int32(t.partitions), t.name))
	}
	if s.autoCreate {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	if s.minSessionTimeout > 0 {
		opts = append(opts, kfake.GroupMinSessionTimeout(s.minSessionTimeout))
	}
	return opts
}
