package transporttest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var startScenarios = []scenario{
	{name: "ReadySubscriptionReceivesEverythingPublishedLater", run: newestMissesNothing},
	{name: "ReadyGroupSubscriptionReceivesEverythingPublishedLater", needs: requirements{needGroups}, run: newestOfGroupMissesNothing},
	{name: "SubscribeThenPublishLosesNothing", run: subscribeThenPublish},
	{name: "DefaultStartWithoutGroupIsNewest", needs: requirements{needReplay}, run: newestByDefault},
	{name: "DefaultStartInGroupIsOldest", needs: requirements{needGroups, needReplay}, run: oldestByDefault},
	{name: "NewestStartOfGroupIsFixedWhenReady", needs: requirements{needGroups, needReplay}, run: newestOfGroup},
	{name: "CommittedOffsetOverridesStart", needs: requirements{needGroups, needReplay}, run: committedFirst},
	{name: "FromOffsetStartsAtThatRecord", needs: requirements{needReplay}, run: startAtOffset},
	{name: "FromTimeStartsAtFirstRecordNotBefore", needs: requirements{needReplay, needTimestamps}, run: startAtTime},
}

func newestMissesNothing(t *testing.T, e *env) { missesNothing(t, e) }

func newestOfGroupMissesNothing(t *testing.T, e *env) {
	missesNothing(t, e, bus.Group(e.name("group")))
}

// missesNothing publishes as soon as the subscription is ready.
func missesNothing(t *testing.T, e *env, opts ...bus.SubscribeOption) {
	publisher, subscriber := e.bus(t), e.bus(t)
	topic := e.topic(t, publisher, partitions)
	if e.caps.Replay {
		e.publish(t, publisher, topic, numbered(5000, 5, nil)...)
	}
	const n = 1000
	got := newRecorder()
	s, err := subscriber.Consume(t.Context(), topic, got.handler, append(opts, bus.FromNewest(), bus.Unordered())...)
	require.NoError(t, err)
	e.ready(t, s)
	e.publish(t, publisher, topic, numbered(0, n, nil)...)
	got.distinct(t, e, n)
	require.ElementsMatch(t, sequence(0, n), got.numbers())
}

// subscribeThenPublish publishes directly after Subscribe, on new topics, with the default start.
func subscribeThenPublish(t *testing.T, e *env) {
	publisher, subscriber := e.bus(t), e.bus(t)
	const rounds, n = 10, 100
	for round := range rounds {
		topic := e.topic(t, publisher, partitions)
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		t.Cleanup(cancel)
		channel, err := subscriber.Subscribe(ctx, topic)
		require.NoError(t, err)
		e.publishing(t, publisher, topic, numbered(0, n, nil)...)
		seen := map[string]bool{}
		for len(seen) < n {
			m := e.receive(t, channel)
			require.False(t, seen[m.UUID], "round %d: %s was delivered twice", round, m.UUID)
			seen[m.UUID] = true
			m.Ack()
		}
		cancel()
		awaitClosed(t, e, channel, "the channel is closed")
	}
}

func newestByDefault(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	got := newRecorder()
	e.consume(t, b, topic, got.handler)
	e.publish(t, b, topic, numbered(5, 5, nil)...)
	got.count(t, e, 5)
	require.Equal(t, sequence(5, 5), got.numbers())

	replayed := newRecorder()
	e.consume(t, b, topic, replayed.handler, bus.FromOldest())
	replayed.count(t, e, 10)
	require.Equal(t, sequence(0, 10), replayed.numbers())
}

func oldestByDefault(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	got := newRecorder()
	e.consume(t, b, topic, got.handler, bus.Group(e.name("group")))
	got.count(t, e, 5)
	require.Equal(t, sequence(0, 5), got.numbers())
}

func newestOfGroup(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	nothing, got := newRecorder(), newRecorder()
	e.close(t, e.consume(t, b, topic, nothing.handler, bus.Group(e.name("group")), bus.FromNewest()))
	e.publish(t, b, topic, numbered(5, 5, nil)...) // while the group has no member
	e.consume(t, b, topic, got.handler, bus.Group(e.name("group")), bus.FromNewest())
	got.count(t, e, 5)
	require.Equal(t, sequence(5, 5), got.numbers(), "the start was fixed when the first subscription became ready")
	require.Empty(t, nothing.snapshot())
}

func committedFirst(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 3, nil)...)
	first, second := newRecorder(), newRecorder()
	s := e.consume(t, b, topic, first.handler, bus.Group(e.name("group")))
	first.count(t, e, 3)
	e.close(t, s)
	e.publish(t, b, topic, numbered(3, 3, nil)...)
	e.consume(t, b, topic, second.handler, bus.Group(e.name("group")), bus.FromOldest())
	second.count(t, e, 3)
	require.Equal(t, sequence(3, 3), second.numbers())
}

func startAtOffset(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 10, nil)...)
	got := newRecorder()
	e.consume(t, b, topic, got.handler, bus.FromOffset(7))
	got.count(t, e, 3)
	require.Equal(t, sequence(7, 3), got.numbers())

	s, err := b.Consume(t.Context(), topic, got.handler, bus.FromOffset(1_000_000))
	if err == nil {
		ctx, cancel := e.context(t)
		defer cancel()
		err = s.Ready(ctx)
	}
	requireCode(t, bus.CodeOutOfRange, err, "a start after the end of the log")
}

func startAtTime(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	ms := numbered(0, 10, nil)
	for i, m := range ms {
		bus.SetTimestamp(m, begin.Add(time.Duration(i)*time.Minute))
	}
	e.publish(t, b, topic, ms...)
	between, exact := newRecorder(), newRecorder()
	e.consume(t, b, topic, between.handler, bus.FromTime(begin.Add(6*time.Minute+time.Second)))
	e.consume(t, b, topic, exact.handler, bus.FromTime(begin.Add(6*time.Minute)))
	between.count(t, e, 3)
	exact.count(t, e, 4)
	require.Equal(t, sequence(7, 3), between.numbers())
	require.Equal(t, sequence(6, 4), exact.numbers())
}
