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

// Broker is an embedded Kafka broker ([Start]) or a running cluster ([Attach]). Its
// methods are safe for concurrent use.
type Broker struct {
	addrs     []string
	embedded  *kfake.Cluster // nil for an attached cluster
	listeners *listeners
	close     sync.Once
}

// Start starts an embedded broker. It returns when the broker accepts connections.
// The broker listens on the loopback interface only, in plain text. The default is
// one broker on a free port, without topics, that creates no topics automatically.
//
// ctx applies to the start only. The caller must call [Broker.Close].
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

// ErrUnsuitable is the error that [Attach] wraps if the running cluster does not meet
// the options.
var ErrUnsuitable = errors.New("the running cluster does not meet the options")

// Attach returns a Broker for a running cluster. addrs are the host:port addresses
// of some of its brokers. The cluster must have at least as many brokers as
// [WithBrokers] says. Attach creates the topics of [WithTopics]; it returns an error
// if one exists, because its records do not belong to the test. WithPort,
// WithAutoCreate and WithMinSessionTimeout are for an embedded broker only: with
// one of them Attach returns an error that wraps [ErrUnsuitable]. Close does not
// change the cluster or its topics.
//
// The deadline of ctx limits each request. If ctx is canceled, Attach returns after the
// current request.
func Attach(ctx context.Context, addrs []string, opts ...Option) (*Broker, error) {
	s := newSettings(opts)
	if len(addrs) == 0 {
		return nil, errors.New("kafkatest: attach: at least one address is required")
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

// Addrs returns the host:port addresses of an embedded broker in the order of the
// broker IDs, or the addresses that were passed to Attach. The caller owns the slice.
func (b *Broker) Addrs() []string { return slices.Clone(b.addrs) }

// Embedded reports whether the broker runs in this process. The package comment says
// how an embedded broker differs from a real one.
func (b *Broker) Embedded() bool { return b.embedded != nil }

// Close stops an embedded broker. It closes all connections, frees the ports and
// drops all topics. It returns after at most two seconds. Further calls have no
// effect, and Close has no effect on an attached cluster. The error is always nil.
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
