package kafka_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// holder collects the partitions of a session. It does not release them before the test ends.
type holder struct {
	session driver.Session
	wg      sync.WaitGroup
	stop    context.CancelFunc

	mu     sync.Mutex
	held   map[int32]driver.Partition
	events []driver.Event
	err    error
}

func hold(t *testing.T, s driver.Session) *holder {
	t.Helper()
	h := &holder{session: s, held: make(map[int32]driver.Partition)}
	ctx, cancel := context.WithCancel(t.Context())
	h.stop = cancel
	h.wg.Go(func() {
		for {
			ev, err := s.Next(ctx)
			h.mu.Lock()
			if err != nil {
				h.err = err
				h.mu.Unlock()
				return
			}
			h.events = append(h.events, ev)
			for _, p := range ev.Added {
				h.held[p.ID()] = p
			}
			h.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		cancel()
		h.wg.Wait()
		for _, p := range h.partitions() {
			p.Release()
		}
	})
	return h
}

func (h *holder) partitions() map[int32]driver.Partition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.held)
}

// awaitLive waits until n of the held partitions are not revoked.
func (h *holder) awaitLive(t *testing.T, n int) []driver.Partition {
	t.Helper()
	var live []driver.Partition
	require.Eventually(t, func() bool {
		live = nil
		for _, id := range slices.Sorted(maps.Keys(h.partitions())) {
			if p := h.partitions()[id]; p.Context().Err() == nil {
				live = append(live, p)
			}
		}
		return len(live) == n
	}, testTimeout, 10*time.Millisecond)
	return live
}

// When a member joins, the partitions that do not move continue. Those that move can be
// committed until they are released, even without a Fetch in progress.
func TestCooperativeRebalanceStopsOnlyPartitionsThatMove(t *testing.T) {
	t.Parallel()
	r := setup(t, 4)
	sub := driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t)}
	for p := range int32(4) {
		requirePublished(t, publish(t, r, r.topic, item{payload: "a", partition: p}, item{payload: "b", partition: p}))
	}
	one := hold(t, subscribe(t, r, sub))
	all := one.awaitLive(t, 4)
	for _, p := range all {
		require.Equal(t, "a", string(fetch(t, p, 1)[0].Payload))
	}
	two := hold(t, subscribe(t, open(t, r.broker), sub))
	kept := one.awaitLive(t, 2)
	for _, p := range all {
		if p.Context().Err() != nil {
			require.Equal(t, driver.CodeRevoked, driver.CodeOf(context.Cause(p.Context())))
			require.NoError(t, p.Commit(testContext(t), 1, ""), "a revoked claim commits until it is released")
			require.Empty(t, two.partitions(), "the partition must not move before its release")
		}
	}
	for _, p := range all {
		if p.Context().Err() != nil {
			p.Release()
		}
	}
	moved := two.awaitLive(t, 2)
	for _, p := range moved {
		require.Equal(t, "b", string(fetch(t, p, 1)[0].Payload))
		require.NoError(t, p.Commit(testContext(t), 2, ""))
		require.Equal(t, driver.CodeRevoked, driver.CodeOf(all[p.ID()].Commit(testContext(t), 2, "")))
	}
	for _, p := range kept {
		require.NoError(t, p.Context().Err())
		require.Same(t, all[p.ID()], p)
		require.NoError(t, p.Commit(testContext(t), 1, ""), "in the new generation")
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	for _, ev := range one.events {
		require.True(t, ev.Assigned, "the session must stay assigned")
	}
}

func TestGroupUsesRangeWhileAMemberNeedsIt(t *testing.T) {
	t.Parallel()
	r := setup(t, 4)
	sub := driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t)}
	old := runMember(t.Context(), subscribe(t, open(t, r.broker, kafka.WithBalance(kafka.Range)), sub), func(driver.Record) {})
	require.Eventually(t, func() bool { return old.partitions() == 4 }, testTimeout, 10*time.Millisecond)
	one := runMember(t.Context(), subscribe(t, r, sub), func(driver.Record) {})
	require.Eventually(t, func() bool { return old.partitions() == 2 && one.partitions() == 2 }, testTimeout, 10*time.Millisecond)
	two := runMember(t.Context(), subscribe(t, open(t, r.broker), sub), func(driver.Record) {})
	require.Eventually(t, func() bool { return one.partitions()+two.partitions() >= 2 && two.partitions() > 0 }, testTimeout, 10*time.Millisecond)
	old.stop(t)
	require.Eventually(t, func() bool { return one.partitions() == 2 && two.partitions() == 2 }, testTimeout, 10*time.Millisecond)
	one.stop(t)
	require.Eventually(t, func() bool { return two.partitions() == 4 }, testTimeout, 10*time.Millisecond)
	two.stop(t)
}

func TestMemberWithoutACommonStrategyFails(t *testing.T) {
	t.Parallel()
	r := setup(t, 1, kafka.WithBalance(kafka.RoundRobin))
	sub := driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t)}
	one := hold(t, subscribe(t, r, sub))
	one.awaitLive(t, 1)
	two := subscribe(t, open(t, r.broker), sub)
	_, err := two.Next(testContext(t))
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err), "%v", err)
}

func TestStaticMemberReturnsWithoutARebalance(t *testing.T) {
	t.Parallel()
	r := setup(t, 2)
	sub := driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t)}
	other := hold(t, subscribe(t, open(t, r.broker, kafka.WithStaticMembership("b")), sub))
	other.awaitLive(t, 2)

	k := open(t, r.broker, kafka.WithStaticMembership("a"))
	s := subscribe(t, k, sub)
	moving := hold(t, s)
	require.Eventually(t, func() bool {
		for _, p := range other.partitions() {
			if p.Context().Err() != nil {
				p.Release()
			}
		}
		return len(moving.partitions()) == 1
	}, testTimeout, 10*time.Millisecond)
	mine := moving.awaitLive(t, 1)[0]
	theirs := other.awaitLive(t, 1)[0]
	require.NoError(t, mine.Commit(testContext(t), 0, ""))
	leave(t, s, mine)
	require.NoError(t, k.Close(testContext(t)))

	s = subscribe(t, open(t, r.broker, kafka.WithStaticMembership("a")), sub)
	back := awaitAssigned(t, s)
	for len(back) == 0 {
		back = awaitAssigned(t, s)
	}
	require.Len(t, back, 1)
	require.Equal(t, mine.ID(), back[0].ID())
	require.NoError(t, theirs.Context().Err(), "the other member must not be affected")
	leave(t, s, back...)
}

func TestStaticMembersOfOneTransportHaveDifferentIDs(t *testing.T) {
	t.Parallel()
	r := setup(t, 2, kafka.WithStaticMembership("pod-0"))
	sub := driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t)}
	one := hold(t, subscribe(t, r, sub))
	one.awaitLive(t, 2)
	two := hold(t, subscribe(t, r, sub)) // the same topic and group, so it needs another instance ID
	require.Eventually(t, func() bool {
		for _, p := range one.partitions() {
			if p.Context().Err() != nil {
				p.Release()
			}
		}
		return len(two.partitions()) == 1
	}, testTimeout, 10*time.Millisecond)
	one.awaitLive(t, 1)
	long := make([]byte, 249)
	for i := range long {
		long[i] = 'x'
	}
	k := open(t, r.broker, kafka.WithStaticMembership(string(long)))
	_, err := k.Subscribe(t.Context(), driver.Subscription{Topic: r.topic, Group: "g"})
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
}
