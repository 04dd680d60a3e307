package chaos

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

func TestWaitForAllWaitsForEveryPartitionOfEveryStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProgress([]string{"g"}, 2)
		done := make(chan error, 1)
		p.addAcknowledged(0)
		p.addAcknowledged(1)
		p.addHandled("g", Place{0, 7})
		go func() { done <- p.waitForAll(t.Context()) }()
		waiting := func() bool {
			time.Sleep(time.Second)
			synctest.Wait()
			return len(done) == 0
		}
		require.True(t, waiting(), "progress before the call does not count")
		p.addAcknowledged(0)
		p.addHandled("g", Place{0, 8})
		p.addHandled("g", Place{1, 0})
		require.True(t, waiting(), "partition 1 has no acknowledgement")
		p.addAcknowledged(1)
		require.False(t, waiting())
		require.NoError(t, <-done)

		go func() { done <- p.waitForAll(t.Context()) }()
		synctest.Wait()
		p.addAcknowledged(0)
		p.addAcknowledged(1)
		p.addHandled("g", Place{0, 9})
		p.addHandled("g", Place{1, 0})
		require.True(t, waiting(), "a record that is handled again is no progress")
		p.addHandled("g", Place{1, 1})
		require.False(t, waiting())
		require.NoError(t, <-done)
	})
}

func TestWaitForAllNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProgress([]string{"g"}, 1)
		wait := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return p.waitForAll(ctx)
		}
		go func() { time.Sleep(time.Millisecond); p.addHandled("g", Place{0, 0}) }()
		require.ErrorContains(t, wait(), "no message was acknowledged on partition 0")
		go func() { time.Sleep(time.Millisecond); p.addAcknowledged(0) }()
		require.ErrorContains(t, wait(), "group g handled no new message of partition 0")
	})
}

func TestWaitForLogWaitsForEveryRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProgress([]string{"g"}, 1)
		log := []Entry{{Message{"a", 1}, Place{0, 0}}, {Message{"a", 2}, Place{0, 1}}}
		p.addHandled("g", Place{0, 0})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, p.waitForLog(ctx, log), "group g has not handled a#2 at 0@1")
		p.addHandled("g", Place{0, 1})
		require.NoError(t, p.waitForLog(t.Context(), log))
	})
}

func TestErrorsAreCountedByOperationCodeAndReason(t *testing.T) {
	t.Parallel()
	p := newProgress(nil, 1)
	p.addError("publish", &bus.Error{Code: bus.CodeUnavailable, Reason: "no leader", Topic: "one"})
	p.addError("publish", &bus.Error{Code: bus.CodeUnavailable, Reason: "no leader", Topic: "two"})
	p.addError("commit", &bus.Error{Code: bus.CodeRevoked})
	p.addError("commit", errors.New("another error"))
	require.Equal(t, map[string]int{"publish: unavailable: no leader": 2, "commit: revoked": 1, "commit: another error": 1}, p.errorCounts())
}
