package rpc

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/rpc/frame"
)

func TestAbandonedCallsAreBounded(t *testing.T) {
	t.Parallel()
	c := newPendingCalls(1)
	id := func(i int) string { return fmt.Sprint("id-", i) }
	for i := range maxAbandoned + 10 {
		p := &pendingCall{id: id(i)}
		require.Nil(t, c.add(p))
		require.True(t, c.abandon(p))
		require.False(t, c.abandon(p), "p no longer waits")
	}
	require.Len(t, c.abandoned, maxAbandoned)
	for i, late := range map[int]bool{9: false, 10: true, maxAbandoned + 9: true} {
		_, _, got := c.match(&frame.Frame{ID: id(i)})
		require.Equal(t, late, got, i)
	}
	_, _, late := c.match(&frame.Frame{ID: id(10)})
	require.False(t, late, "the second reply is a duplicate")
}

func TestGatheringIsBounded(t *testing.T) {
	t.Parallel()
	g := &gathering{arrived: make(chan struct{}, 1), answered: map[string]struct{}{}}
	for i := range maxAnswers {
		require.True(t, g.push(result{server: fmt.Sprint(i)}))
	}
	require.False(t, g.push(result{server: "one more"}))
}

func TestSenderDropsRecordsWhenItsQueueIsFull(t *testing.T) {
	t.Parallel()
	s := &sender{running: true} // without a goroutine
	for range maxQueued {
		require.True(t, s.send(newRecord()))
	}
	require.False(t, s.send(newRecord()))
}
