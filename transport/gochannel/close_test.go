package gochannel_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/gochannel"
)

func TestCloseEndsWaitingCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := gochannel.New(gochannel.WithBuffer(1))
		require.NoError(t, err)
		session, p := subscribe(t, tr, "orders")
		sink := newOutcomes(t)
		go tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 0), outgoing(t.Context(), sink, "orders", 1)})
		synctest.Wait()
		_, idle := subscribe(t, tr, "other")
		errs := make(chan error, 2)
		go func() { _, err := idle.Fetch(t.Context()); errs <- err }()
		go func() { _, err := session.Next(t.Context()); errs <- err }()
		synctest.Wait()

		require.NoError(t, tr.Close(t.Context()))
		require.NoError(t, tr.Close(t.Context()), "idempotent")
		require.NoError(t, session.Close(t.Context()))
		require.Equal(t, 1, sink.accepted())
		require.Equal(t, driver.CodeClosed, sink.code(t, 1))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(<-errs))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(<-errs))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(context.Cause(p.Context())))

		_, err = p.Fetch(t.Context())
		require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
		_, err = tr.Subscribe(t.Context(), driver.Subscription{Topic: "orders"})
		require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
		tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", 2)})
		require.Equal(t, driver.CodeClosed, sink.code(t, 2))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(tr.Ready(t.Context())))
		require.Equal(t, driver.CodeClosed, driver.CodeOf(tr.Ping(t.Context())))
	})
}

func TestPublishDuringCloseSucceedsOrReturnsClosed(t *testing.T) {
	t.Parallel()
	for range 50 {
		tr, err := gochannel.New(gochannel.WithBuffer(4))
		require.NoError(t, err)
		_, _ = subscribe(t, tr, "orders")
		sink := newOutcomes(t)
		const publishers, each = 4, 20
		var wg sync.WaitGroup
		for p := range publishers {
			wg.Go(func() {
				for i := range each {
					tr.Publish([]driver.Outgoing{outgoing(t.Context(), sink, "orders", p*each+i)})
				}
			})
		}
		wg.Go(func() { _ = tr.Close(t.Context()) })
		wg.Wait()
		require.Len(t, sink.got, publishers*each)
		for i, r := range sink.got {
			if r.Err != nil {
				require.Equal(t, driver.CodeClosed, sink.code(t, i))
			}
		}
	}
}
