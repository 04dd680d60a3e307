package memory_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

var errCable = errors.New("cable unplugged")

// lostAssignment reads the next event, which must be a loss, and returns its cause.
func lostAssignment(t *testing.T, s driver.Session) error {
	t.Helper()
	e, err := s.Next(bounded(t))
	require.NoError(t, err)
	require.False(t, e.Assigned)
	require.Empty(t, e.Added)
	return e.Cause
}

func TestDisconnectedTransportReturnsUnavailable(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	other := sameLog(t, tr)
	createTopic(t, tr, 1)
	ctx := bounded(t)
	require.NoError(t, tr.Ping(ctx))
	require.NoError(t, tr.Ready(ctx))

	tr.Disconnect(errCable)
	tr.Disconnect(errors.New("another"))
	err := tr.Ping(ctx)
	requireCode(t, driver.CodeUnavailable, err)
	require.ErrorIs(t, err, errCable)
	requireCode(t, driver.CodeUnavailable, publish(ctx, tr, "a").Err)
	requireCode(t, driver.CodeUnavailable, tr.CreateTopic(ctx, driver.TopicSpec{Name: "u"}))
	requireCode(t, driver.CodeUnavailable, tr.DeleteTopic(ctx, "t"))
	_, err = tr.ListTopics(ctx)
	requireCode(t, driver.CodeUnavailable, err)
	_, err = tr.DescribeTopic(ctx, "t")
	requireCode(t, driver.CodeUnavailable, err)
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	err = tr.Ready(short)
	requireCode(t, driver.CodeUnavailable, err)
	require.ErrorIs(t, err, errCable)
	require.NoError(t, other.Ping(ctx), "other transports stay connected")

	ready := make(chan error, 1)
	go func() { ready <- tr.Ready(ctx) }()
	tr.Connect()
	require.NoError(t, receive(t, ready))
	require.NoError(t, publish(ctx, tr, "a").Err)
}

func TestDisconnectedLogDisconnectsAllTransports(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	mustPublish(t, tr, "a")
	l := tr.Log()
	l.Disconnect(nil)
	late := sameLog(t, tr)
	s := subscribe(t, late, driver.Subscription{})
	for _, x := range []*memory.Transport{tr, late} {
		requireCode(t, driver.CodeUnavailable, x.Ping(t.Context()))
	}
	late.Disconnect(nil)
	l.Connect()
	require.NoError(t, tr.Ping(t.Context()))
	requireCode(t, driver.CodeUnavailable, late.Ping(t.Context()))
	late.Connect()
	require.Equal(t, []string{"a"}, payloads(fetch(t, assigned(t, s)[0])), "the session starts when its transport connects")
}

func TestGroupResumesAtCommittedOffset(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	for _, m := range []string{"a", "b", "c"} {
		mustPublish(t, tr, m)
	}
	s := inGroup(t, tr)
	p := assigned(t, s)[0]
	fetch(t, p)
	require.NoError(t, p.Commit(t.Context(), 1, ""))
	tr.Disconnect(errCable)
	require.ErrorIs(t, context.Cause(p.Context()), errCable)
	require.ErrorIs(t, lostAssignment(t, s), errCable)
	requireCode(t, driver.CodeRevoked, p.Commit(t.Context(), 2, ""))
	tr.Connect()
	require.Empty(t, assigned(t, s), "handlers of the lost claim may still run")
	p.Release()
	require.Equal(t, []string{"b", "c"}, payloads(fetch(t, assigned(t, s)[0])))
}

func TestPartitionsOfDisconnectedMemberMoveAtOnce(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 2)
	disconnected := sameLog(t, tr)
	first, second := inGroup(t, disconnected), inGroup(t, tr)
	require.Equal(t, []int32{0}, ids(assigned(t, first)))
	require.Equal(t, []int32{1}, ids(assigned(t, second)))
	disconnected.Disconnect(nil)
	require.Equal(t, []int32{0}, ids(assigned(t, second)), "without waiting for a Release")
}

func TestSessionWithoutGroupKeepsClaimsInOutage(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	other := sameLog(t, tr)
	createTopic(t, tr, 1)
	s := subscribe(t, tr, driver.Subscription{Start: driver.Start{Kind: driver.StartNewest}})
	p := assigned(t, s)[0]
	mustPublish(t, tr, "a")
	require.Equal(t, []string{"a"}, payloads(fetch(t, p)))
	tr.Disconnect(errCable)
	require.ErrorIs(t, lostAssignment(t, s), errCable)
	require.NoError(t, p.Context().Err())
	mustPublish(t, other, "b")
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := p.Fetch(short)
	requireCode(t, driver.CodeDeadlineExceeded, err)
	require.NoError(t, tr.Log().AddPartitions("t", 1))
	mustPublish(t, other, "c", to(1))
	tr.Connect()
	require.Equal(t, []string{"b"}, payloads(fetch(t, p)))
	added := assigned(t, s)
	require.Equal(t, []int32{1}, ids(added), "claims that survive the outage are not announced again")
	require.Equal(t, []string{"c"}, payloads(fetch(t, added[0])))
}

func TestUnreadEventsAreMerged(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	reader, member := subscribe(t, tr, driver.Subscription{}), inGroup(t, tr)
	for range 3 {
		tr.Disconnect(errCable)
		tr.Connect()
	}
	for _, s := range []driver.Session{reader, member} {
		require.ErrorIs(t, lostAssignment(t, s), errCable)
		require.Equal(t, []int32{0}, ids(assigned(t, s)))
	}
}

func TestObserverReceivesEveryChangeInOrder(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	var mu sync.Mutex
	var seen []driver.Connection
	tr.Observe(func(c driver.Connection) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, c)
	})
	tr.Disconnect(errCable)
	tr.Log().Disconnect(nil) // already disconnected
	tr.Connect()
	tr.Log().Connect()
	require.NoError(t, tr.Close(t.Context()))
	tr.Disconnect(nil)
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, seen, 3)
	for i, want := range []driver.ConnectionState{driver.Connected, driver.Disconnected, driver.Connected} {
		require.Equal(t, want, seen[i].State)
		require.False(t, seen[i].Since.IsZero())
	}
	require.Equal(t, errCable, seen[1].Cause)
	require.NoError(t, seen[2].Cause)
}

func TestCloseWaitsForRunningObserver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		running, finish := make(chan struct{}), make(chan struct{})
		go tr.Observe(func(driver.Connection) {
			close(running)
			<-finish
		})
		<-running
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		requireCode(t, driver.CodeDeadlineExceeded, tr.Close(ctx))
		close(finish)
		require.NoError(t, tr.Close(t.Context()))
	})
}

func TestCloseEndsSessionsClaimsAndCalls(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	createTopic(t, tr, 1)
	member, reader := inGroup(t, tr), subscribe(t, tr, driver.Subscription{})
	claims := []driver.Partition{assigned(t, member)[0], assigned(t, reader)[0]}
	errs := make(chan error, 4)
	for i, s := range []driver.Session{member, reader} {
		ctx := bounded(t)
		go func() { _, err := s.Next(ctx); errs <- err }()
		go func() { _, err := claims[i].Fetch(ctx); errs <- err }()
	}
	require.NoError(t, tr.Close(t.Context()))
	for range 4 {
		requireCode(t, driver.CodeClosed, <-errs)
	}
	for _, c := range claims {
		requireCode(t, driver.CodeClosed, context.Cause(c.Context()))
		c.Release()
	}
	ctx := bounded(t)
	require.NoError(t, tr.Close(ctx))
	requireCode(t, driver.CodeClosed, publish(ctx, tr, "a").Err)
	requireCode(t, driver.CodeClosed, tr.Ping(ctx))
	requireCode(t, driver.CodeClosed, tr.Ready(ctx))
	requireCode(t, driver.CodeClosed, tr.CreateTopic(ctx, driver.TopicSpec{Name: "u"}))
	_, err := tr.Subscribe(ctx, driver.Subscription{Topic: "t"})
	requireCode(t, driver.CodeClosed, err)
	tr.Connect()
	requireCode(t, driver.CodeClosed, tr.Ping(ctx))
}

func TestTransportClosedWhileDisconnectedReturnsClosed(t *testing.T) {
	t.Parallel()
	tr := newTransport(t)
	tr.Disconnect(nil)
	require.NoError(t, tr.Close(t.Context()))
	requireCode(t, driver.CodeClosed, tr.Ping(t.Context()))
	requireCode(t, driver.CodeClosed, tr.Ready(t.Context()))
}
