package transporttest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var groupScenarios = []scenario{
	{name: "GroupMembersSharePartitions", needs: requirements{needGroups, needReplay, needPartitions}, run: groupShares},
	{name: "GroupsHaveSeparateOffsets", needs: requirements{needGroups, needReplay}, run: groupsApart},
}

func groupShares(t *testing.T, e *env) {
	one, two, apart := e.bus(t), e.bus(t), e.bus(t)
	topic := e.topic(t, one, partitions)
	everything, first, second := newRecorder(), newRecorder(), newRecorder()
	e.consume(t, apart, topic, everything.handler)
	s := e.consume(t, one, topic, first.handler, bus.Group(e.name("group")))
	e.consume(t, two, topic, second.handler, bus.Group(e.name("group")))

	// The members do not get their partitions at the same time. Publish until both have received
	// messages.
	published := 0
	deadline := time.Now().Add(e.timeout())
	for len(first.snapshot()) == 0 || len(second.snapshot()) == 0 {
		require.True(t, time.Now().Before(deadline), "one member receives every message")
		e.publish(t, apart, topic, onEach(published)...)
		published += partitions
		everything.distinct(t, e, published)
		untilCovered(t, e, published, first, second)
	}
	require.Len(t, everything.snapshot(), published, "a subscription without a group receives each message once")

	e.close(t, s)
	left := len(first.snapshot())
	e.publish(t, apart, topic, onEach(published)...)
	published += partitions
	untilCovered(t, e, published, first, second)
	require.Len(t, first.snapshot(), left, "a closed member receives nothing")
}

func groupsApart(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	for _, g := range []string{e.name("a"), e.name("b")} {
		got := newRecorder()
		s := e.consume(t, b, topic, got.handler, bus.Group(g))
		got.count(t, e, 5)
		require.Equal(t, sequence(0, 5), got.numbers())
		e.close(t, s)
	}
}
