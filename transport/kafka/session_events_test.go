package kafka

import (
	"context"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

func newTestEvents(t *testing.T) *sessionEvents {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return newSessionEvents(&Transport{ctx: ctx}, driver.Subscription{Topic: "topic"})
}

// next returns the event that is ready, and fails t if there is none.
func next(t *testing.T, e *sessionEvents) driver.Event {
	t.Helper()
	require.NotNil(t, e.next, "there is no event")
	ev, err := e.Next(t.Context())
	require.NoError(t, err)
	return ev
}

// Only the session can release a claim that ends before Next returns it.
func TestClaimThatEndsBeforeNextIsReleased(t *testing.T) {
	t.Parallel()
	e := newTestEvents(t)
	ended, kept := testClaim(0), testClaim(0)
	e.reportAssigned([]*claim{ended, kept})
	e.endClaim(ended, revokedError("topic", nil))
	select {
	case <-ended.released:
	default:
		require.FailNow(t, "the claim is not released")
	}
	require.Equal(t, []driver.Partition{kept}, next(t, e).Added)

	e.endClaim(kept, revokedError("topic", nil))
	select {
	case <-kept.released:
		require.FailNow(t, "only the holder may release a claim that Next has returned")
	default:
	}
}

func TestEventsBetweenCallsOfNextAreMerged(t *testing.T) {
	t.Parallel()
	e := newTestEvents(t)
	first, second := testClaim(0), testClaim(0)
	e.reportAssigned([]*claim{first})
	e.reportAssigned([]*claim{second})
	ev := next(t, e)
	require.True(t, ev.Assigned)
	require.Equal(t, []driver.Partition{first, second}, ev.Added)

	e.reportAssigned(nil)
	require.Nil(t, e.next, "an assignment without new claims must be reported only once")

	e.reportLost(sarama.ErrOutOfBrokers)
	e.reportAssigned(nil)
	require.True(t, next(t, e).Assigned, "the latest state must replace earlier ones")
	e.reportLost(sarama.ErrOutOfBrokers)
	require.ErrorIs(t, next(t, e).Cause, sarama.ErrOutOfBrokers)
	e.reportLost(sarama.ErrOutOfBrokers)
	require.Nil(t, e.next, "a loss must be reported only once")
}

func TestRejectedCredentialsAreReportedOnce(t *testing.T) {
	t.Parallel()
	e := newTestEvents(t)
	e.reportLost(sarama.ErrOutOfBrokers)
	require.Nil(t, e.next, "without an assignment no loss must be reported")
	e.reportLost(sarama.ErrSASLAuthenticationFailed)
	require.ErrorIs(t, next(t, e).Cause, sarama.ErrSASLAuthenticationFailed)
	e.reportLost(sarama.ErrSASLAuthenticationFailed)
	require.Nil(t, e.next)
	e.reportAssigned(nil)
	require.True(t, next(t, e).Assigned)
	e.reportLost(sarama.ErrSASLAuthenticationFailed)
	require.ErrorIs(t, next(t, e).Cause, sarama.ErrSASLAuthenticationFailed)
}

func TestMissingTopicIsCertainAfterFourErrors(t *testing.T) {
	t.Parallel()
	var n missingTopicCounter
	unknown := sarama.ErrUnknownTopicOrPartition
	for range 3 {
		require.False(t, n.isMissing(unknown))
	}
	require.False(t, n.isMissing(sarama.ErrLeaderNotAvailable), "another error must restart the count")
	for range 3 {
		require.False(t, n.isMissing(unknown))
	}
	require.True(t, n.isMissing(unknown))
}
