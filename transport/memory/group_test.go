package memory_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

func inGroup(t *testing.T, tr *memory.Transport) driver.Session {
	t.Helper()
	return subscribe(t, tr, driver.Subscription{Group: "g"})
}

// revoked returns the partitions whose context has ended. The cause must be a revocation.
func revoked(t *testing.T, partitions []driver.Partition) []driver.Partition {
	t.Helper()
	var all []driver.Partition
	for _, p := range partitions {
		if p.Context().Err() != nil {
			requireCode(t, driver.CodeRevoked, context.Cause(p.Context()))
			all = append(all, p)
		}
	}
	return all
}

func TestRebalanceIsEvenAndMovesFewPartitions(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 7)
	held := map[driver.Session][]driver.Partition{}
	var members []driver.Session
	// settle releases the revoked partitions, takes the added ones, and returns how many
	// partitions moved.
	settle := func() (moved int) {
		for _, s := range members {
			for _, p := range revoked(t, held[s]) {
				p.Release()
				held[s] = slices.DeleteFunc(held[s], func(o driver.Partition) bool { return o == p })
			}
		}
		for _, s := range members {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // so that Next does not wait
			if e, err := s.Next(ctx); err == nil {
				moved += len(e.Added)
				held[s] = append(held[s], e.Added...)
			}
		}
		var all []int32
		for _, s := range members {
			n := len(held[s])
			require.GreaterOrEqual(t, n, 7/len(members))
			require.LessOrEqual(t, n, (7+len(members)-1)/len(members))
			all = append(all, ids(held[s])...)
		}
		slices.Sort(all)
		require.Equal(t, []int32{0, 1, 2, 3, 4, 5, 6}, all)
		return moved
	}
	for _, want := range []int{7, 3, 2, 1} { // one member joins each time
		members = append(members, inGroup(t, tr))
		require.Equal(t, want, settle())
	}
	for len(members) > 1 {
		leaver := members[0]
		moving := len(held[leaver])
		for _, p := range held[leaver] {
			p.Release()
		}
		require.NoError(t, leaver.Close(t.Context()))
		members = members[1:]
		require.Equal(t, moving, settle(), "only the partitions of the leaving member move")
	}
}

func TestNextOwnerWaitsForRelease(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	for _, m := range []string{"a", "b", "c"} {
		mustPublish(t, tr, m)
	}
	first, second := inGroup(t, tr), inGroup(t, sameLog(t, tr))
	p := assigned(t, first)[0]
	require.Equal(t, []string{"a", "b", "c"}, payloads(fetch(t, p)))
	require.Empty(t, assigned(t, second), "the second member is assigned, without partitions yet")

	require.NoError(t, tr.Log().Rebalance("g", "t"))
	requireCode(t, driver.CodeRevoked, context.Cause(p.Context()))
	_, err := p.Fetch(t.Context())
	requireCode(t, driver.CodeRevoked, err)
	require.NoError(t, p.Commit(t.Context(), 1, ""), "a revoked claim can commit until it is released")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = second.Next(ctx)
	require.ErrorIs(t, err, context.Canceled, "the partition is not assigned before it is released")

	p.Release()
	p.Release()
	requireCode(t, driver.CodeRevoked, p.Commit(t.Context(), 3, ""))
	require.Equal(t, []string{"b", "c"}, payloads(fetch(t, assigned(t, second)[0])))
}

func TestRevokeTimeoutReleasesPartition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, memory.WithRevokeTimeout(3*time.Second))
		createTopic(t, tr, 1)
		mustPublish(t, tr, "a")
		first, second := inGroup(t, tr), inGroup(t, tr)
		p := assigned(t, first)[0]
		require.Empty(t, assigned(t, second))
		require.NoError(t, tr.Log().Rebalance("g", "t"))
		begun := time.Now()
		next := assigned(t, second)
		require.Equal(t, 3*time.Second, time.Since(begun))
		requireCode(t, driver.CodeRevoked, p.Commit(t.Context(), 1, ""))
		require.Equal(t, []string{"a"}, payloads(fetch(t, next[0])))
		p.Release()
	})
}

func TestRebalanceOfSingleMemberReturnsItsPartitions(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 2)
	s := inGroup(t, tr)
	before := assigned(t, s)
	require.NoError(t, tr.Log().Rebalance("g", "t"))
	require.Len(t, revoked(t, before), 2)
	before[1].Release()
	require.Equal(t, []int32{1}, ids(assigned(t, s)))
	before[0].Release()
	require.Equal(t, []int32{0}, ids(assigned(t, s)))
}

func TestUnannouncedClaimMovesAtOnce(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 2)
	inGroup(t, tr) // never calls Next
	require.Equal(t, []int32{1}, ids(assigned(t, inGroup(t, tr))))
}

func TestUncommittedRecordsAreRedeliveredAfterCrash(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	for _, m := range []string{"a", "b", "c"} {
		mustPublish(t, tr, m)
	}
	victim := sameLog(t, tr)
	s := inGroup(t, victim)
	p := assigned(t, s)[0]
	fetch(t, p)
	require.NoError(t, p.Commit(t.Context(), 1, ""))
	successor := inGroup(t, tr)
	require.Empty(t, assigned(t, successor))

	victim.Crash()
	require.Equal(t, []string{"b", "c"}, payloads(fetch(t, assigned(t, successor)[0])))
	require.Error(t, p.Context().Err())
	requireCode(t, driver.CodeRevoked, p.Commit(t.Context(), 3, ""))
	_, err := s.Next(t.Context())
	requireCode(t, driver.CodeClosed, err)
	requireCode(t, driver.CodeClosed, publish(bounded(t), victim, "d").Err)
	p.Release() // a late Release has no effect
	next, _, _ := tr.Log().Committed("g", "t", 0)
	require.EqualValues(t, 1, next)
}

func TestExpiredMembersJoinAgain(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 2)
	s := inGroup(t, tr)
	before := assigned(t, s)
	require.NoError(t, tr.Log().ExpireMembers("g", "t"))
	require.Len(t, revoked(t, before), 2)
	requireCode(t, driver.CodeRevoked, before[0].Commit(t.Context(), 0, ""))
	e, err := s.Next(t.Context())
	require.NoError(t, err)
	require.False(t, e.Assigned)
	requireCode(t, driver.CodeRevoked, e.Cause)
	require.Empty(t, assigned(t, s), "handlers of the expired claims may still run")
	before[0].Release()
	before[1].Release()
	require.Equal(t, []int32{0, 1}, ids(assigned(t, s)))
	requireCode(t, driver.CodeNotFound, tr.Log().ExpireMembers("other", "t"))
	requireCode(t, driver.CodeNotFound, tr.Log().Rebalance("g", "other"))
}

func TestPartitionReleasedWithoutRevocationStaysUnassigned(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	first, second := inGroup(t, tr), inGroup(t, tr)
	p := assigned(t, first)[0]
	require.Empty(t, assigned(t, second))
	p.Release()
	require.Error(t, p.Context().Err())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range []driver.Session{first, second} {
		_, err := s.Next(ctx)
		require.ErrorIs(t, err, context.Canceled, "the partition is not assigned while its member is in the group")
	}
	require.NoError(t, first.Close(t.Context()))
	require.Equal(t, []int32{0}, ids(assigned(t, second)))
	_, err := first.Next(t.Context())
	requireCode(t, driver.CodeClosed, err)
	require.NoError(t, first.Close(t.Context()))
}

func TestAddedPartitionsAreReadFromFirstRecord(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	newest := driver.Start{Kind: driver.StartNewest}
	member := subscribe(t, tr, driver.Subscription{Group: "g", Start: newest})
	reader := subscribe(t, tr, driver.Subscription{Start: newest})
	limited := subscribe(t, tr, driver.Subscription{Partitions: []int32{0}})
	for _, s := range []driver.Session{member, reader, limited} {
		require.Equal(t, []int32{0}, ids(assigned(t, s)))
	}
	require.NoError(t, tr.Log().AddPartitions("t", 2))
	info, err := tr.DescribeTopic(t.Context(), "t")
	require.NoError(t, err)
	require.EqualValues(t, 3, info.Partitions)
	mustPublish(t, tr, "a", to(2))
	for _, s := range []driver.Session{member, reader} {
		added := assigned(t, s)
		require.Equal(t, []int32{1, 2}, ids(added))
		require.Equal(t, []string{"a"}, payloads(fetch(t, added[1])))
	}
	require.NoError(t, member.Close(t.Context()))
	again := assigned(t, subscribe(t, tr, driver.Subscription{Group: "g", Start: newest}))
	require.Equal(t, []string{"a"}, payloads(fetch(t, again[2])), "StartNewest does not skip records that were published while the group had members")
	requireCode(t, driver.CodeInvalidArgument, tr.Log().AddPartitions("t", 0))
	requireCode(t, driver.CodeNotFound, tr.Log().AddPartitions("other", 1))
}

func TestStartOutOfRangeEndsOnlyThatMember(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 2)
	bad := subscribe(t, tr, driver.Subscription{Group: "g", Start: driver.Start{Kind: driver.StartAtOffset, Offset: 9}})
	_, err := bad.Next(bounded(t))
	requireCode(t, driver.CodeOutOfRange, err)
	require.Equal(t, []int32{0, 1}, ids(assigned(t, inGroup(t, tr))))
}
