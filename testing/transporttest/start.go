package transporttest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var startScenarios = []scenario{
	{name: "NothingIsMissedAfterReady", run: newestMissesNothing},
	{name: "NothingIsMissedAfterReadyInAGroup", needs: needs{needGroups}, run: newestOfGroupMissesNothing},
	{name: "NothingIsMissedAfterReadyOnAChannel", run: subscribedMissesNothing},
	{name: "WithoutAGroupTheNewestIsTheDefault", needs: needs{needReplay}, run: newestByDefault},
	{name: "WithAGroupTheOldestIsTheDefault", needs: needs{needGroups, needReplay}, run: oldestByDefault},
	{name: "NewestOfAGroupIsFixedWhenReady", needs: needs{needGroups, needReplay}, run: newestOfGroup},
	{name: "CommittedPositionGoesBeforeStart", needs: needs{needGroups, needReplay}, run: committedFirst},
	{name: "StartAtAnOffset", needs: needs{needReplay}, run: startAtOffset},
	{name: "StartAtATime", needs: needs{needReplay, needTimestamps}, run: startAtTime},
}

func newestMissesNothing(t *testing.T, e *env) { missesNothing(t, e) }

func newestOfGroupMissesNothing(t *testing.T, e *env) {
	missesNothing(t, e, bus.Group(e.name("group")))
}

// missesNothing publishes the moment the subscription is ready.
func missesNothing(t *testing.T, e *env, opts ...bus.SubscribeOption) {
	publisher, subscriber := e.bus(t), e.bus(t)
	topic := e.topic(t, publisher, partitions)
	if e.caps.Replay {
		e.publish(t, publisher, topic, numbered(5000, 5, nil)...)
	}
	const n = 1000
	got := newLog()
	s, err := subscriber.Consume(t.Context(), topic, got.handler, append(opts, bus.FromNewest(), bus.Unordered())...)
	require.NoError(t, err)
	e.ready(t, s)
	e.publish(t, publisher, topic, numbered(0, n, nil)...)
	got.distinct(t, e, n)
	require.ElementsMatch(t, sequence(0, n), got.numbers())
}

// subscribedMissesNothing is the same for a channel, which is ready when the session
// hook says so.
func subscribedMissesNothing(t *testing.T, e *env) {
	publisher := e.bus(t)
	topic := e.topic(t, publisher, partitions)
	subscriber, assigned := e.watchedBus(t, bus.WithSubscribeDefaults(bus.FromNewest()))
	channel, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	e.awaits(t, assigned, "the subscription is assigned")
	const n = 1000
	e.publishing(t, publisher, topic, numbered(0, n, nil)...)
	seen := map[string]bool{}
	for len(seen) < n {
		m := e.receive(t, channel)
		require.False(t, seen[m.UUID], "%s came twice", m.UUID)
		seen[m.UUID] = true
		m.Ack()
	}
}

func newestByDefault(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	got := newLog()
	e.consume(t, b, topic, got.handler)
	e.publish(t, b, topic, numbered(5, 5, nil)...)
	got.count(t, e, 5)
	require.Equal(t, sequence(5, 5), got.numbers())

	replayed := newLog()
	e.consume(t, b, topic, replayed.handler, bus.FromOldest())
	replayed.count(t, e, 10)
	require.Equal(t, sequence(0, 10), replayed.numbers())
}

func oldestByDefault(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	got := newLog()
	e.consume(t, b, topic, got.handler, bus.Group(e.name("group")))
	got.count(t, e, 5)
	require.Equal(t, sequence(0, 5), got.numbers())
}

func newestOfGroup(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	nothing, got := newLog(), newLog()
	e.close(t, e.consume(t, b, topic, nothing.handler, bus.Group(e.name("group")), bus.FromNewest()))
	e.publish(t, b, topic, numbered(5, 5, nil)...) // while nobody is there
	e.consume(t, b, topic, got.handler, bus.Group(e.name("group")), bus.FromNewest())
	got.count(t, e, 5)
	require.Equal(t, sequence(5, 5), got.numbers(), "the start was fixed when the first subscription got ready")
	require.Empty(t, nothing.snapshot())
}

func committedFirst(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 3, nil)...)
	first, second := newLog(), newLog()
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
	got := newLog()
	e.consume(t, b, topic, got.handler, bus.FromOffset(7))
	got.count(t, e, 3)
	require.Equal(t, sequence(7, 3), got.numbers())

	s, err := b.Consume(t.Context(), topic, got.handler, bus.FromOffset(1_000_000))
	if err == nil {
		ctx, cancel := e.patience(t)
		defer cancel()
		err = s.Ready(ctx)
	}
	requireCode(t, bus.CodeOutOfRange, err, "start beyond the end")
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
	between, exact := newLog(), newLog()
	e.consume(t, b, topic, between.handler, bus.FromTime(begin.Add(6*time.Minute+time.Second)))
	e.consume(t, b, topic, exact.handler, bus.FromTime(begin.Add(6*time.Minute)))
	between.count(t, e, 3)
	exact.count(t, e, 4)
	require.Equal(t, sequence(7, 3), between.numbers())
	require.Equal(t, sequence(6, 4), exact.numbers())
}
