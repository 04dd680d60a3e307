package producer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/producer"
)

func TestFlushWaitsForEarlierMessagesOnly(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.late.decide = func(string) (behavior, time.Duration) { return passed, 10 * time.Second }
		p := w.producer()
		require.NoError(t, p.Flush(t.Context()), "nothing is outstanding")
		r, err := p.SendAsync(t.Context(), msg("", "a"))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = p.Flush(ctx)
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.ErrorContains(t, err, "messages without a report: 1")
		flushed := make(chan error)
		go func() { flushed <- p.Flush(t.Context()) }()
		time.Sleep(time.Second)
		_, err = p.SendAsync(t.Context(), msg("", "b")) // accepted after Flush was called
		require.NoError(t, err)
		require.NoError(t, <-flushed)
		_, ok := r.Report()
		require.True(t, ok)
		require.Equal(t, 1, p.Stats().Outstanding)
		require.NoError(t, p.Shutdown(t.Context()))
	})
}

func TestShutdownSendsQueuedMessages(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.faults.Disconnect(nil)
		p := w.producer(producer.WithOutagePolicy(producer.Buffer), producer.WithMaxOutstanding(10, 1000))
		r, err := p.SendAsync(t.Context(), msg("", "a"))
		require.NoError(t, err)
		time.AfterFunc(time.Minute, w.faults.Connect)
		require.NoError(t, p.Shutdown(t.Context()))
		report, ok := r.Report()
		require.True(t, ok)
		require.NoError(t, report.Err)
		require.Equal(t, []string{"a"}, payloads(w.log()[0]))
	})
}

// oneInFlightOneQueued sends a message whose outcome takes an hour, and another one that
// waits for the broker.
func oneInFlightOneQueued(t *testing.T, w *fixture, p *producer.Producer) (inFlight, queued *producer.Receipt) {
	t.Helper()
	w.late.decide = func(string) (behavior, time.Duration) { return passed, time.Hour }
	inFlight, err := p.SendAsync(t.Context(), msg("", "in flight"))
	require.NoError(t, err)
	synctest.Wait()
	require.Equal(t, 1, p.Stats().InFlight)
	w.faults.Disconnect(nil)
	queued, err = p.SendAsync(t.Context(), msg("", "queued"))
	require.NoError(t, err)
	return inFlight, queued
}

func TestShutdownReportsWhatItDidNotSend(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		p := w.producer()
		inFlight, queued := oneInFlightOneQueued(t, w, p)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		err := p.Shutdown(ctx)
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.ErrorContains(t, err, "messages not sent: 1, with unknown outcome: 1")
		require.Equal(t, 5*time.Second, time.Since(begun))
		require.Equal(t, err, p.Shutdown(t.Context()), "the result of the first call")
		_, err = inFlight.Wait(t.Context())
		requireCode(t, bus.CodeOutcomeUnknown, err)
		_, err = queued.Wait(t.Context())
		requireCode(t, bus.CodeClosed, err)
		require.Equal(t, producer.Stats{Accepted: 2, Failed: 1, Unknown: 1, InFlight: 1}, p.Stats())

		w.faults.Connect()
		time.Sleep(2 * time.Hour) // of the bubble's clock
		require.Zero(t, p.Stats().InFlight)
		require.Equal(t, []string{"in flight"}, payloads(w.log()[0]))
	})
}

func TestSecondShutdownWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		p := w.producer(producer.WithOutagePolicy(producer.Buffer), producer.WithMaxOutstanding(10, 1000))
		oneInFlightOneQueued(t, w, p)
		first := make(chan error)
		go func() { first <- p.Shutdown(t.Context()) }()
		synctest.Wait()
		short, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		requireCode(t, bus.CodeDeadlineExceeded, p.Shutdown(short))
		w.faults.Connect()
		require.NoError(t, <-first)
		require.Equal(t, producer.Stats{Accepted: 2, Sent: 2}, p.Stats())
	})
}

func TestClosedBusFailsMessages(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.faults.Disconnect(nil)
		p := w.producer()
		waiting, err := p.SendAsync(t.Context(), msg("", "a"))
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, w.bus.Close())
		_, err = waiting.Wait(t.Context())
		requireCode(t, bus.CodeClosed, err)
		_, err = p.Send(t.Context(), msg("", "b"))
		requireCode(t, bus.CodeClosed, err)
		require.NoError(t, p.Shutdown(t.Context()))
	})
}

func TestShutdownWhileTheTransportBlocks(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.late.decide = func(string) (behavior, time.Duration) { return blocked, 0 }
		p := w.producer()
		var receipts []*producer.Receipt
		for i := range 3 {
			r, err := p.SendAsync(t.Context(), msg("", name(i)))
			require.NoError(t, err)
			receipts = append(receipts, r)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		requireCode(t, bus.CodeDeadlineExceeded, p.Shutdown(ctx))
		require.Equal(t, time.Second, time.Since(begun))
		for _, r := range receipts {
			_, ok := r.Report()
			require.True(t, ok)
		}
		require.Empty(t, w.log())
	})
}

func TestCloseIsShutdownWithinTenSeconds(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		p := w.producer()
		inFlight, queued := oneInFlightOneQueued(t, w, p)
		begun := time.Now()
		requireCode(t, bus.CodeDeadlineExceeded, p.Close())
		require.Equal(t, 10*time.Second, time.Since(begun))
		_, err := inFlight.Wait(t.Context())
		requireCode(t, bus.CodeOutcomeUnknown, err)
		_, err = queued.Wait(t.Context())
		requireCode(t, bus.CodeClosed, err)
		w.faults.Connect()
		time.Sleep(2 * time.Hour) // of the bubble's clock: until the transport reports the outcome
	})
}
