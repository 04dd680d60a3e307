package transporttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

var groupScenarios = []scenario{
	{name: "GroupSharesAndOthersSeeAll", needs: needs{needGroups, needReplay, needPartitions}, run: groupShares},
	{name: "GroupsHaveTheirOwnPositions", needs: needs{needGroups, needReplay}, run: groupsApart},
}

func groupShares(t *testing.T, e *env) {
	one, two, apart := e.bus(t), e.bus(t), e.bus(t)
	topic := e.topic(t, one, partitions)
	everything, first, second := newLog(), newLog(), newLog()
	e.consume(t, apart, topic, everything.handler)
	s := e.consume(t, one, topic, first.handler, bus.Group(e.name("group")))
	e.consume(t, two, topic, second.handler, bus.Group(e.name("group")))

	// Members settle on their shares in their own time: publish until both have some.
	published := 0
	for len(first.snapshot()) == 0 || len(second.snapshot()) == 0 {
		ms := numbered(published, partitions, nil)
		for i, m := range ms {
			bus.SetPartition(m, int32(i))
		}
		e.publish(t, apart, topic, ms...)
		published += partitions
		everything.distinct(t, e, published)
		e.eventually(t, "the members get every message", func() bool { return covered(published, first, second) }, first, second)
	}
	require.Len(t, everything.snapshot(), published, "without a group each message comes once")

	e.close(t, s)
	left := len(first.snapshot())
	ms := numbered(published, partitions, nil)
	for i, m := range ms {
		bus.SetPartition(m, int32(i))
	}
	e.publish(t, apart, topic, ms...)
	published += partitions
	e.eventually(t, "who is left gets everything", func() bool { return covered(published, first, second) }, second)
	require.Len(t, first.snapshot(), left, "who left gets nothing")
}

// covered says whether the logs together have 0 to n-1.
func covered(n int, logs ...*log) bool {
	seen := map[int]bool{}
	for _, l := range logs {
		for _, i := range l.numbers() {
			seen[i] = true
		}
	}
	return len(seen) == n
}

func groupsApart(t *testing.T, e *env) {
	b := e.bus(t)
	topic := e.topic(t, b, 1)
	e.publish(t, b, topic, numbered(0, 5, nil)...)
	for _, g := range []string{e.name("a"), e.name("b")} {
		got := newLog()
		s := e.consume(t, b, topic, got.handler, bus.Group(g))
		got.count(t, e, 5)
		require.Equal(t, sequence(0, 5), got.numbers())
		e.close(t, s)
	}
}
