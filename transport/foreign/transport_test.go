package foreign_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/foreign"
)

func TestCapabilitiesAreThoseDeclared(t *testing.T) {
	t.Parallel()
	plain := open(t, discard, feed(nil), foreign.WithKeepOpen())
	require.Equal(t, driver.Capabilities{Name: "foreign", Keys: true, DirectAck: true}, plain.Capabilities())
	require.NoError(t, plain.Close(t.Context()))

	full := open(t, discard, feed(nil), foreign.WithKeepOpen(), foreign.WithName("nats"), foreign.WithOrdered(), foreign.WithCrossProcess(), foreign.WithDurable(),
		foreign.WithRedelivery(), foreign.WithMaxMessageBytes(1<<20), foreign.WithTopicCreation(),
		foreign.WithGroupSubscriber(func(string) (message.Subscriber, error) { return feed(nil), nil }))
	require.Equal(t, driver.Capabilities{
		Name: "nats", Keys: true, DirectAck: true, Ordered: true, CrossProcess: true, Durable: true, Redelivery: true,
		Topics: true, Groups: true, MaxMessageBytes: 1 << 20,
	}, full.Capabilities())
	require.NoError(t, full.Close(t.Context()))
}

func TestNewRejectsInvalidOptions(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]foreign.Option{
		"name": foreign.WithName(""), "size": foreign.WithMaxMessageBytes(0), "concurrency": foreign.WithPublishConcurrency(0), "group": foreign.WithGroupSubscriber(nil),
	} {
		_, err := foreign.New(discard, feed(nil), opt)
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err), name)
	}
	_, err := foreign.New(nil, feed(nil))
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
	_, err = foreign.New(discard, nil)
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
	_, err = foreign.New(discard, struct{ message.Subscriber }{feed(nil)}, foreign.WithTopicCreation())
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
}

func TestUnsupportedSubscriptionsAreRejected(t *testing.T) {
	t.Parallel()
	tr := open(t, discard, feed(nil))
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		ctx  context.Context
		s    driver.Subscription
		code driver.Code
	}{
		"empty topic": {t.Context(), driver.Subscription{}, driver.CodeInvalidArgument},
		"group":       {t.Context(), driver.Subscription{Topic: "t", Group: "g"}, driver.CodeUnsupported},
		"partitions":  {t.Context(), driver.Subscription{Topic: "t", Partitions: []int32{0}}, driver.CodeUnsupported},
		"offset":      {t.Context(), driver.Subscription{Topic: "t", Start: driver.Start{Kind: driver.StartAtOffset}}, driver.CodeUnsupported},
		"time":        {t.Context(), driver.Subscription{Topic: "t", Start: driver.Start{Kind: driver.StartAtTime}}, driver.CodeUnsupported},
		"canceled":    {ended, driver.Subscription{Topic: "t"}, driver.CodeCanceled},
	} {
		_, err := tr.Subscribe(c.ctx, c.s)
		require.Equal(t, c.code, driver.CodeOf(err), name)
	}
	require.NoError(t, tr.Ready(t.Context()))
	require.Equal(t, driver.CodeUnsupported, driver.CodeOf(tr.Ping(t.Context())))
	require.NoError(t, tr.Close(t.Context()))
	_, err := tr.Subscribe(t.Context(), driver.Subscription{Topic: "t"})
	require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
	require.Equal(t, driver.CodeClosed, driver.CodeOf(tr.Ready(t.Context())))
}

func TestStateIsConnectedAfterFirstSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fail := true
		tr := open(t, &publisher{publish: func(string, *message.Message) error {
			if fail {
				return errors.New("no broker")
			}
			return nil
		}}, feed(nil))
		var seen []driver.ConnectionState
		tr.Observe(func(c driver.Connection) { seen = append(seen, c.State) })
		sink := newOutcomes(t)
		for i := range 4 {
			fail = i%2 == 0
			tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", i)})
			synctest.Wait()
		}
		require.Equal(t, []driver.ConnectionState{driver.Connecting, driver.Connected}, seen)
		require.NoError(t, tr.Close(t.Context()))
	})
}

func TestTopicsAreCreatedOnlyIfDeclared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sub := feed(nil)
		var created []string
		blocked := make(chan struct{})
		sub.initialize = func(topic string) error {
			created = append(created, topic)
			if topic == "slow" {
				<-blocked
			}
			if topic == "bad" {
				return errors.New("no such exchange")
			}
			return nil
		}
		plain := open(t, discard, sub, foreign.WithKeepOpen())
		require.Equal(t, driver.CodeUnsupported, driver.CodeOf(plain.CreateTopic(t.Context(), driver.TopicSpec{Name: "orders"})))
		require.NoError(t, plain.Close(t.Context()))

		tr := open(t, discard, sub, foreign.WithTopicCreation())
		require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "orders"}))
		require.ErrorContains(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "bad"}), "no such exchange")
		require.Equal(t, []string{"orders", "bad"}, created)
		for _, spec := range []driver.TopicSpec{{Name: "t", Partitions: 3}, {Name: "t", Config: map[string]string{"a": "b"}}} {
			require.Equal(t, driver.CodeUnsupported, driver.CodeOf(tr.CreateTopic(t.Context(), spec)))
		}
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(tr.CreateTopic(t.Context(), driver.TopicSpec{})))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { synctest.Wait(); cancel() }()
		require.Equal(t, driver.CodeOutcomeUnknown, driver.CodeOf(tr.CreateTopic(ctx, driver.TopicSpec{Name: "slow"})))
		close(blocked)

		require.Equal(t, driver.CodeUnsupported, driver.CodeOf(tr.DeleteTopic(t.Context(), "orders")))
		_, err := tr.DescribeTopic(t.Context(), "orders")
		require.Equal(t, driver.CodeUnsupported, driver.CodeOf(err))
		_, err = tr.ListTopics(t.Context())
		require.Equal(t, driver.CodeUnsupported, driver.CodeOf(err))
		require.NoError(t, tr.Close(t.Context()))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "late"})))
	})
}

// Errors of subscribers that the transport owns are reported by Close.
func TestCloseReportsErrorOfGroupSubscriber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("cannot leave the group")
		tr := open(t, discard, feed(nil), foreign.WithKeepOpen(), foreign.WithGroupSubscriber(func(string) (message.Subscriber, error) {
			return failingClose{feed(nil), failed}, nil
		}))
		subscribe(t, tr, driver.Subscription{Topic: "orders", Group: "g"})
		require.ErrorIs(t, tr.Close(t.Context()), failed)
	})
}

type failingClose struct {
	message.Subscriber
	err error
}

func (f failingClose) Close() error { return f.err }
