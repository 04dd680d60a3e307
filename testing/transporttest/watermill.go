package transporttest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

// RunWatermill runs watermill's universal suite over package bus on the transport,
// with the features that its capabilities stand for. A bus subscribes with order by
// partition then, one message at a time, as watermill has it.
//
// The suite publishes before it subscribes. On a transport without replay that would
// find nothing, so there the subscription is made in SubscribeInitialize, which the
// suite calls first, and those of its tests are left out that subscribe once more
// to read the same messages again.
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

// pubSub connects to the suite's broker. Without groups each subscriber reads
// everything; with them all are members of one, as the suite expects.
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

func (w *watermillRun) bus(t *testing.T, opts ...bus.SubscribeOption) forgiving {
	return forgiving{w.env.bus(t, bus.WithSubscribeDefaults(opts...), bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}),
		bus.WithCloseTimeout(suiteCloseTime))}
}

const suiteCloseTime = 2 * time.Second

// forgiving is a bus whose Close is no error when a message was left unacknowledged:
// the suite leaves some on purpose, and takes every error for a fault.
type forgiving struct{ *bus.Bus }

func (f forgiving) Close() error {
	if err := f.Bus.Close(); err != nil && bus.CodeOf(err) != bus.CodeDeadlineExceeded {
		return err
	}
	return nil
}

// early makes a subscriber that subscribes in SubscribeInitialize.
func (w *watermillRun) early(t *testing.T) (message.Publisher, message.Subscriber) {
	watch := make(watch, 64)
	b := forgiving{w.env.bus(t, bus.WithHooks(watch), bus.WithCloseTimeout(suiteCloseTime))}
	return b, &earlySubscriber{forgiving: b, t: t, env: w.env, watch: watch, channels: map[string]<-chan *message.Message{}}
}

type earlySubscriber struct {
	forgiving
	t     *testing.T
	env   *env
	watch watch

	mu       sync.Mutex
	channels map[string]<-chan *message.Message
}

// SubscribeInitialize subscribes, and returns when the subscription is assigned.
// Each topic is initialized once.
func (s *earlySubscriber) SubscribeInitialize(topic string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	channel, err := s.Bus.Subscribe(context.Background(), topic)
	if err != nil {
		return err
	}
	s.channels[topic] = channel
	s.env.awaits(s.t, s.watch, "the subscription is assigned")
	return nil
}

// Subscribe returns the subscription that SubscribeInitialize made.
func (s *earlySubscriber) Subscribe(_ context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	channel, ok := s.channels[topic]
	require.True(s.t, ok, "the suite subscribed to a topic it had not initialized")
	delete(s.channels, topic)
	return channel, nil
}
