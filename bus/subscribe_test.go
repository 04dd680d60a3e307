package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

func TestSubscribeDeliversThroughAChannelAndWaitsForAcks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 3, func(int) string { return "k" })...)
		b := s.bus(t, bus.WithSubscribeDefaults(bus.Group("g")))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
		msgs, err := b.Subscribe(ctx, "t")
		require.NoError(t, err)

		first := <-msgs
		synctest.Wait()
		select {
		case <-msgs:
			t.Fatal("the next message came before the Ack")
		default:
		}
		rec, ok := bus.RecordFromContext(first.Context())
		require.True(t, ok)
		require.Equal(t, int64(0), rec.Offset)
		require.Equal(t, "k", bus.KeyOf(first))
		require.NoError(t, first.Context().Err())
		first.Nack()
		again := <-msgs
		require.Equal(t, first.Payload, again.Payload)
		require.ErrorIs(t, first.Context().Err(), context.Canceled, "the context ends with the Nack")
		again.Ack()
		second := <-msgs
		require.Equal(t, int64(1), p.last())

		// A message that is acknowledged just before Close is not delivered again.
		second.Ack()
		require.NoError(t, b.Close())
		require.Equal(t, int64(2), p.last())
		for m := range msgs { // the third message must not come any more
			t.Fatalf("delivered after Close: %s", m.UUID)
		}
	})
}

func TestSubscribeClosesWhileItsChannelIsUnread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 3, nil)...)
		b := s.bus(t)
		s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
		msgs, err := b.Subscribe(t.Context(), "t")
		require.NoError(t, err)
		synctest.Wait()
		begun := time.Now()
		require.NoError(t, b.Close())
		require.Zero(t, time.Since(begun), "Close does not wait for a message that was not read from the channel")
		_, open := <-msgs
		require.False(t, open)
	})
}

func TestSubscribeClosesWhileBlockedOnAnAck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 3, nil)...)
		b := s.bus(t, bus.WithCloseTimeout(3*time.Second))
		s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
		msgs, err := b.Subscribe(t.Context(), "t")
		require.NoError(t, err)
		m := <-msgs
		begun := time.Now()
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(b.Close()), "a message was not acknowledged in time")
		require.LessOrEqual(t, time.Since(begun), 3*time.Second)
		require.GreaterOrEqual(t, time.Since(begun), time.Second, "Close waits for the Ack")
		require.Error(t, m.Context().Err())
		require.Empty(t, p.committed())
		_, open := <-msgs
		require.False(t, open)
	})
}

func TestSubscribeFailsIfItIsNotReadyInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript() // never assigns anything
		b := s.bus(t, bus.WithDeliveryTimeout(3*time.Second))
		begun := time.Now()
		_, err := b.Subscribe(t.Context(), "t")
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(err))
		require.Equal(t, 3*time.Second, time.Since(begun))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancel() }()
		_, err = b.Subscribe(ctx, "t")
		require.Error(t, err)
		require.Equal(t, 4*time.Second, time.Since(begun))
		require.NoError(t, b.Close())
	})
}
