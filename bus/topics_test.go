package bus_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestTopicsAreCreatedOnlyIfConfigured(t *testing.T) {
	t.Parallel()
	open := func(opts ...bus.Option) *bus.Bus {
		tr, err := memory.New()
		require.NoError(t, err)
		b, err := bus.New(tr, opts...)
		require.NoError(t, err)
		return b
	}
	plain := open()
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(plain.Publish("t", msg("a"))))
	sub, err := plain.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil })
	if err == nil {
		<-sub.Done()
		err = sub.Err()
	}
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(err))
	require.NoError(t, plain.SubscribeInitialize("t"))
	require.NoError(t, plain.Publish("t", msg("a")))
	require.NoError(t, plain.Close())

	creating := open(bus.WithCreateTopics(bus.TopicSpec{Partitions: 3}))
	m := msg("a")
	m.SetContext(delivery.ExistingTopic(t.Context()))
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(creating.Publish("t", m)), "ExistingTopic prevents the creation")
	require.NoError(t, creating.Publish("t", msg("b")))
	info, err := creating.DescribeTopic(t.Context(), "t")
	require.NoError(t, err)
	require.Equal(t, int32(3), info.Partitions)
	require.NoError(t, creating.Publish("t", m), "the topic exists now")
	require.NoError(t, creating.DeleteTopic(t.Context(), "t"))
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(creating.Publish("t", m)), "ExistingTopic prevents creating a deleted topic again")
	names, err := creating.ListTopics(t.Context())
	require.NoError(t, err)
	require.Empty(t, names)
	require.NoError(t, creating.EnsureTopic(t.Context(), bus.TopicSpec{Name: "t"}))
	require.Equal(t, bus.CodeAlreadyExists, bus.CodeOf(creating.CreateTopic(t.Context(), bus.TopicSpec{Name: "t"})))
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(creating.EnsureTopic(t.Context(), bus.TopicSpec{})))
	require.NoError(t, creating.Close())
	require.Equal(t, bus.CodeClosed, bus.CodeOf(creating.EnsureTopic(t.Context(), bus.TopicSpec{Name: "u"})))
}

func TestNoGroupCancelsTheDefaultGroup(t *testing.T) {
	t.Parallel()
	b := newScript().bus(t, bus.WithSubscribeDefaults(bus.Group("g")))
	nop := func(context.Context, *bus.Delivery) error { return nil }
	sub, err := b.Consume(t.Context(), "t", nop, bus.NoGroup())
	require.NoError(t, err)
	require.Empty(t, sub.Group())
	require.NoError(t, b.Close())
}
