package transporttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/trunkline/trunkline/bus"
)

// RunWatermill runs watermill's universal suite over package bus on the transport, with the
// features that match its capabilities.
//
// The suite publishes before it subscribes, and calls SubscribeInitialize before both. If the
// transport has no replay, RunWatermill subscribes in SubscribeInitialize. It then skips the
// tests that subscribe a second time to read the same messages.
func RunWatermill(t *testing.T, h Harness) {
	t.Helper()
	e := newEnv(t, h.withDefaults())
	w := &watermillRun{env: e}
	features := tests.Features{
		ConsumerGroups:                   e.caps.Groups && e.caps.Replay,
		GuaranteedOrder:                  e.caps.Ordered,
		Persistent:                       e.caps.Replay,
		RequireSingleInstance:            !e.caps.Replay,
		NewSubscriberReceivesOldMessages: e.caps.Replay,
		ForceShort:                       testing.Short(),
	}
	if e.caps.Replay {
		tests.TestPubSub(t, features, w.pubSub, w.groupPubSub)
		return
	}
	for name, test := range map[string]func(*testing.T, tests.TestContext, tests.PubSubConstructor){
		"TestPublishSubscribe":                  tests.TestPublishSubscribe,
		"TestConcurrentSubscribe":               tests.TestConcurrentSubscribe,
		"TestConcurrentSubscribeMultipleTopics": tests.TestConcurrentSubscribeMultipleTopics,
		"TestResendOnError":                     tests.TestResendOnError,
		"TestNoAck":                             tests.TestNoAck,
		"TestPublishSubscribeInOrder":           tests.TestPublishSubscribeInOrder,
		"TestPublisherClose":                    tests.TestPublisherClose,
		"TestTopic":                             tests.TestTopic,
		"TestMessageCtx":                        tests.TestMessageCtx,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, tests.TestContext{TestID: tests.NewTestID(), Features: features}, w.early)
		})
	}
}

type watermillRun struct{ env *env }

// pubSub returns a bus on the broker. If the transport has groups, all subscribers of a test are
// members of one group, as the suite expects. Otherwise each reads everything.
func (w *watermillRun) pubSub(t *testing.T) (message.Publisher, message.Subscriber) {
	if w.env.caps.Groups {
		return w.groupPubSub(t, "conformance-"+strings.ReplaceAll(t.Name(), "/", "-"))
	}
	b := w.bus(t, bus.FromOldest())
	return b, b
}

func (w *watermillRun) groupPubSub(t *testing.T, group string) (message.Publisher, message.Subscriber) {
	b := w.bus(t, bus.Group(group))
	return b, b
}

func (w *watermillRun) bus(t *testing.T, opts ...bus.SubscribeOption) lenientBus {
	return lenientBus{w.env.bus(t, bus.WithSubscribeDefaults(opts...), bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}),
		bus.WithCloseTimeout(watermillCloseTimeout))}
}

const watermillCloseTimeout = 2 * time.Second

// lenientBus is a bus whose Close returns nil although messages are unacknowledged. The suite
// leaves some messages unacknowledged on purpose, and fails on every error.
type lenientBus struct{ *bus.Bus }

func (f lenientBus) Close() error {
	if err := f.Bus.Close(); err != nil && bus.CodeOf(err) != bus.CodeDeadlineExceeded {
		return err
	}
	return nil
}

// early returns a subscriber that subscribes in SubscribeInitialize.
func (w *watermillRun) early(t *testing.T) (message.Publisher, message.Subscriber) {
	b := lenientBus{w.env.bus(t, bus.WithCloseTimeout(watermillCloseTimeout))}
	return b, &earlySubscriber{lenientBus: b, channels: map[string]<-chan *message.Message{}}
}

type earlySubscriber struct {
	lenientBus

	mu       sync.Mutex
	channels map[string]<-chan *message.Message
}

// SubscribeInitialize subscribes. The subscription is positioned when it returns.
// Each topic is initialized once.
func (s *earlySubscriber) SubscribeInitialize(topic string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	channel, err := s.Bus.Subscribe(context.Background(), topic)
	if err != nil {
		return err
	}
	s.channels[topic] = channel
	return nil
}

// Subscribe returns the subscription that SubscribeInitialize made.
func (s *earlySubscriber) Subscribe(_ context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	channel, ok := s.channels[topic]
	if !ok {
		return nil, fmt.Errorf("the suite subscribed to the topic %s, which it had not initialized", topic)
	}
	delete(s.channels, topic)
	return channel, nil
}
