package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Broker is a Kafka to talk to: one embedded in this process ([Start]) or a
// running cluster ([Attach]). Its methods are safe for concurrent use.
type Broker struct {
	addrs     []string
	embedded  *kfake.Cluster // nil for an attached cluster
	listeners *listeners
	close     sync.Once
}

// Start runs an embedded broker and returns once it accepts connections. It
// listens on the loopback interface only, in plain text. Without options it is
// one broker on a free port, with no topics, that creates none by itself.
//
// ctx bounds the start, not the broker's life: [Broker.Close] ends that.
func Start(ctx context.Context, opts ...Option) (*Broker, error) {
	s := newSettings(opts)
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("kafkatest: start embedded broker: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("kafkatest: start embedded broker: %w", context.Cause(ctx))
	}

	ls := &listeners{}
	cluster, err := kfake.NewCluster(s.kfake(ls)...)
	if err != nil {
		ls.close()
		return nil, fmt.Errorf("kafkatest: start embedded broker: %w", err)
	}
	return &Broker{addrs: ls.addrs(), embedded: cluster, listeners: ls}, nil
}

// ErrUnfit is what [Attach] returns, wrapped, for a running cluster that is not
// what an option asks for.
var ErrUnfit = errors.New("the running cluster is not what the test asks for")

// Attach returns a Broker for a cluster that is already running, which must
// have at least as many brokers as [Brokers] says, and creates the topics that
// [Topics] asks for; a topic that exists is an error, since the records in it
// are someone else's. Port, AutoCreate and MinSessionTimeout are for an
// embedded broker only: with one of them it returns [ErrUnfit]. Close leaves
// the cluster and its topics alone.
//
// ctx bounds the call: its deadline is observed throughout, its cancellation
// between requests.
func Attach(ctx context.Context, addrs []string, opts ...Option) (*Broker, error) {
	s := newSettings(opts)
	if len(addrs) == 0 {
		return nil, errors.New("kafkatest: attach: no address given")
	}
	if err := s.validateAttach(); err != nil {
		return nil, fmt.Errorf("kafkatest: attach to %v: %w", addrs, err)
	}
	b := &Broker{addrs: slices.Clone(addrs)}
	if err := b.checkBrokers(ctx, s.brokers); err != nil {
		return nil, fmt.Errorf("kafkatest: attach to %v: %w", addrs, err)
	}
	for _, t := range s.topics {
		n := t.partitions
		if n == 0 {
			n = s.partitions
		}
		if err := b.CreateTopic(ctx, t.name, n); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Addrs returns the host:port of every broker started, in the order of their
// ids, or the addresses Attach was given. The caller owns the slice.
func (b *Broker) Addrs() []string { return slices.Clone(b.addrs) }

// Embedded reports whether the broker runs in this process. See the package
// comment for what an embedded broker does not do as a real one does.
func (b *Broker) Embedded() bool { return b.embedded != nil }

// Close stops an embedded broker: it closes every connection, frees the ports
// and drops all topics. It returns after at most two seconds, may be called
// more than once, and does nothing to an attached cluster. The error is always
// nil; it is there for io.Closer.
func (b *Broker) Close() error {
	b.close.Do(func() {
		if b.embedded == nil {
			return
		}
		b.embedded.Close()
		b.listeners.close()
		b.listeners.wait(2 * time.Second)
	})
	return nil
}
