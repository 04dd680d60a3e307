package kafkatest

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// An Option changes what [Start] or [Attach] set up.
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

// Brokers sets how many brokers the embedded cluster has, each on a port of its
// own. The default is 1.
func Brokers(n int) Option { return func(s *settings) { s.brokers = n } }

// Port makes the embedded broker listen on 127.0.0.1:port; with more than one
// broker they take port, port+1 and so on. The default, 0, is any free port.
func Port(port int) Option { return func(s *settings) { s.port = port } }

// Topics creates topics with the given number of partitions before the broker
// is handed over; 0 partitions means the number [Partitions] sets. It may be
// given more than once.
func Topics(partitions int, names ...string) Option {
	return func(s *settings) {
		for _, name := range names {
			s.topics = append(s.topics, topic{name, partitions})
		}
	}
}

// Partitions sets how many partitions a topic gets when its creator names no
// number. The default is 1.
func Partitions(n int) Option { return func(s *settings) { s.partitions = n } }

// AutoCreate lets a client's metadata request create the topics it asks for.
// It is off by default: a topic that was deleted, or whose name is misspelt,
// then stays unknown instead of coming to life empty.
func AutoCreate() Option { return func(s *settings) { s.autoCreate = true } }

// MinSessionTimeout lowers the shortest session time-out the embedded broker
// accepts from a group member. The default is a real broker's 6 s.
func MinSessionTimeout(d time.Duration) Option {
	return func(s *settings) { s.minSessionTimeout = d }
}

func (s settings) validate() error {
	if s.brokers < 1 {
		return fmt.Errorf("Brokers(%d): want at least 1", s.brokers)
	}
	if s.port < 0 || s.port+s.brokers-1 > 65535 {
		return fmt.Errorf("Port(%d) with %d brokers: want ports from 1 to 65535, or 0 for any", s.port, s.brokers)
	}
	if s.minSessionTimeout < 0 {
		return fmt.Errorf("MinSessionTimeout(%v): want a positive duration", s.minSessionTimeout)
	}
	return s.validateTopics()
}

func (s settings) validateAttach() error {
	if s.port != 0 || s.autoCreate || s.minSessionTimeout != 0 {
		return fmt.Errorf("%w: Port, AutoCreate and MinSessionTimeout are for an embedded broker", ErrUnfit)
	}
	return s.validateTopics()
}

func (s settings) validateTopics() error {
	if s.partitions < 1 {
		return fmt.Errorf("Partitions(%d): want at least 1", s.partitions)
	}
	for _, t := range s.topics {
		if t.name == "" {
			return errors.New("Topics: a topic needs a name")
		}
		if t.partitions < 0 {
			return fmt.Errorf("Topics(%d, %q): want at least 1 partition, or 0 for the default", t.partitions, t.name)
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
