package transporttest

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var topicScenarios = []scenario{
	{name: "UnknownTopicReturnsNotFound", needs: requirements{needTopics}, without: anyTopic, run: unknownTopic},
	{name: "TopicsAreCreatedDescribedListedAndDeleted", needs: requirements{needTopics}, run: manageTopics},
	{name: "WithCreateTopicsCreatesTopicsOnFirstUse", run: createOnUse},
}

func anyTopic(t *testing.T, e *env) {
	b := e.bus(t)
	got := newRecorder()
	e.consume(t, b, e.name("unknown"), got.handler)
	e.publish(t, b, e.name("unknown"), numbered(0, 1, nil)...)
	got.count(t, e, 1)
}

func unknownTopic(t *testing.T, e *env) {
	b := e.bus(t)
	ctx, cancel := e.context(t)
	defer cancel()
	m := message.NewMessage("id", nil)
	m.SetContext(ctx)
	requireCode(t, bus.CodeNotFound, b.Publish(e.name("unknown"), m), "publish")
	s, err := b.Consume(ctx, e.name("unknown"), func(context.Context, *bus.Delivery) error { return nil })
	if err == nil {
		err = s.Ready(ctx)
	}
	requireCode(t, bus.CodeNotFound, err, "consume")
	_, err = b.Subscribe(ctx, e.name("unknown"))
	requireCode(t, bus.CodeNotFound, err, "subscribe")
	_, err = b.DescribeTopic(ctx, e.name("unknown"))
	requireCode(t, bus.CodeNotFound, err, "describe")
	requireCode(t, bus.CodeNotFound, b.DeleteTopic(ctx, e.name("unknown")), "delete")
	names, err := b.ListTopics(ctx)
	require.NoError(t, err)
	require.NotContains(t, names, e.name("unknown"), "using a topic does not create it")
}

func manageTopics(t *testing.T, e *env) {
	b := e.bus(t)
	ctx, cancel := e.context(t)
	defer cancel()
	topic := e.topic(t, b, 3)
	requireCode(t, bus.CodeAlreadyExists, b.CreateTopic(ctx, bus.TopicSpec{Name: topic}), "create it again")
	require.NoError(t, b.EnsureTopic(ctx, bus.TopicSpec{Name: topic}))
	requireCode(t, bus.CodeInvalidArgument, b.CreateTopic(ctx, bus.TopicSpec{}), "create a topic without a name")
	info, err := b.DescribeTopic(ctx, topic)
	require.NoError(t, err)
	require.Equal(t, topic, info.Name)
	require.Equal(t, int32(3), info.Partitions)
	names, err := b.ListTopics(ctx)
	require.NoError(t, err)
	require.Contains(t, names, topic)
	require.NoError(t, b.DeleteTopic(ctx, topic))
	names, err = b.ListTopics(ctx)
	require.NoError(t, err)
	require.NotContains(t, names, topic)
}

func createOnUse(t *testing.T, e *env) {
	b := e.bus(t, bus.WithCreateTopics(bus.TopicSpec{Partitions: 2}))
	got := newRecorder()
	e.consume(t, b, e.name("created-by-consume"), got.handler)
	e.publish(t, b, e.name("created-by-consume"), numbered(0, 1, nil)...)
	got.count(t, e, 1)
	e.publish(t, b, e.name("created-by-publish"), numbered(0, 1, nil)...)
	require.NoError(t, b.SubscribeInitialize(e.name("created-by-initialize")))
	if e.caps.Topics {
		names, err := b.ListTopics(t.Context())
		require.NoError(t, err)
		require.Subset(t, names, []string{e.name("created-by-consume"), e.name("created-by-publish"), e.name("created-by-initialize")})
	}
}
