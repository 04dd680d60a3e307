package producer_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/producer"
	"github.com/trunkline/trunkline/testing/bustest"
)

// These tests cover the faults of dp-kafka's producer. Their numbers are those of package
// consumer's tests. TestKafkaOutages covers number 14: a busy producer that never
// reconnected, and messages that were lost although their errors were nil.

// Calls after Close blocked forever.
func TestFault04CallsAfterCloseReturnAtOnce(t *testing.T) {
	t.Parallel()
	for name, disconnected := range map[string]bool{"connected": false, "the broker is unavailable": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withFixture(t, 1, func(t *testing.T, w *fixture) {
				if disconnected {
					w.faults.Disconnect(nil)
				}
				p := w.producer()
				require.NoError(t, p.Shutdown(t.Context()))
				begun := time.Now()
				_, err := p.Send(t.Context(), msg("", "a"))
				requireCode(t, bus.CodeClosed, err)
				_, err = p.SendAsync(t.Context(), msg("", "a"))
				requireCode(t, bus.CodeClosed, err)
				require.NoError(t, p.Flush(t.Context()))
				require.NoError(t, p.Shutdown(t.Context()))
				require.Zero(t, time.Since(begun))
			})
		})
	}
}

// Errors that the program did not read blocked Send and Close.
func TestFault13UnreadReportsBlockNothing(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		p := w.producer(producer.WithMaxOutstanding(3, 1000))
		require.NoError(t, w.faults.Inject(bustest.OnPublish(topic, bustest.Every(2), bustest.Fail(bus.CodeTooLarge))))
		for i := range 1000 {
			_, err := p.SendAsync(t.Context(), msg("k", name(i))) // the receipt is not used
			require.NoError(t, err)
		}
		require.NoError(t, p.Shutdown(t.Context()))
		require.Equal(t, producer.Stats{Accepted: 1000, Sent: 500, Failed: 500}, p.Stats())
	})
}

// Cancel followed by Close closed a channel twice and panicked.
func TestFault15CancelThenConcurrentShutdowns(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.faults.Disconnect(nil)
		p := w.producer()
		ctx, cancel := context.WithCancel(t.Context())
		receipt, err := p.SendAsync(t.Context(), msg("", "a"))
		require.NoError(t, err)
		synctest.Wait()
		cancel()
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() { _ = p.Shutdown(ctx) })
			calls.Go(func() { _, _ = p.Send(ctx, msg("", "b")) })
			calls.Go(func() { _ = p.Flush(ctx) })
		}
		calls.Wait()
		report, ok := receipt.Report()
		require.True(t, ok)
		requireCode(t, bus.CodeClosed, report.Err)
		require.Equal(t, bus.CodeCanceled, bus.CodeOf(p.Shutdown(t.Context())), "the result of the first call")
	})
}
