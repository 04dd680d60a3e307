package foreign_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/foreign"
)

// publisher is a message.Publisher that calls publish for each message.
type publisher struct {
	publish func(topic string, m *message.Message) error
	mu      sync.Mutex
	closed  int
}

func (p *publisher) Publish(topic string, ms ...*message.Message) error {
	for _, m := range ms {
		if err := p.publish(topic, m); err != nil {
			return err
		}
	}
	return nil
}

func (p *publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed++
	return nil
}

// subscriber is a message.Subscriber that calls subscribe. The test closes the channel that
// subscribe returns.
type subscriber struct {
	subscribe  func(ctx context.Context, topic string) (<-chan *message.Message, error)
	initialize func(topic string) error
	mu         sync.Mutex
	closed     int
}

func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	return s.subscribe(ctx, topic)
}

func (s *subscriber) SubscribeInitialize(topic string) error { return s.initialize(topic) }

func (s *subscriber) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
	return nil
}

// feed returns a subscriber whose subscriptions forward messages from in until their context
// ends, as watermill requires.
func feed(in <-chan *message.Message) *subscriber {
	return &subscriber{subscribe: func(ctx context.Context, _ string) (<-chan *message.Message, error) {
		out := make(chan *message.Message)
		go func() {
			defer close(out)
			for {
				select {
				case m := <-in:
					select {
					case out <- m:
					case <-ctx.Done():
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}()
		return out, nil
	}}
}

// outcomes is a sink that keeps the outcomes by index. It fails the test if a message has two.
type outcomes struct {
	t   *testing.T
	mu  sync.Mutex
	got map[int]driver.Outcome
}

func newOutcomes(t *testing.T) *outcomes { return &outcomes{t: t, got: map[int]driver.Outcome{}} }

func (o *outcomes) Published(out *driver.Outgoing, r driver.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, twice := o.got[out.Index]; twice {
		assert.Fail(o.t, "a message was completed twice")
	}
	o.got[out.Index] = r
}

func (o *outcomes) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.got)
}

func (o *outcomes) err(t *testing.T, i int) error {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.got[i]
	require.True(t, ok, "message %d has no outcome", i)
	return r.Err
}

func (o *outcomes) code(t *testing.T, i int) driver.Code {
	t.Helper()
	err := o.err(t, i)
	require.Error(t, err)
	return driver.CodeOf(err)
}

func outgoing(ctx context.Context, sink driver.Sink, topic string, index int) driver.Outgoing {
	return driver.Outgoing{
		Context: ctx, Topic: topic, Partition: driver.AnyPartition, Index: index, Sink: sink,
		UUID: strconv.Itoa(index), Payload: []byte(strconv.Itoa(index)),
	}
}

func open(t *testing.T, pub message.Publisher, sub message.Subscriber, opts ...foreign.Option) *foreign.Transport {
	t.Helper()
	tr, err := foreign.New(pub, sub, opts...)
	require.NoError(t, err)
	return tr
}

func subscribe(t *testing.T, tr driver.Transport, s driver.Subscription) (driver.Session, driver.Partition) {
	t.Helper()
	s.Start.Kind, s.MaxFetch = driver.StartNewest, 10
	session, err := tr.Subscribe(t.Context(), s)
	require.NoError(t, err)
	e, err := session.Next(t.Context())
	require.NoError(t, err)
	require.True(t, e.Assigned)
	require.Len(t, e.Added, 1)
	return session, e.Added[0]
}
