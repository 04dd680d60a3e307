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

// The faults of dp-kafka that are a producer's, by the numbers that package consumer's
// tests have for all of them. TestKafkaOutages is number 14's: a busy producer that never
// reconnected, and messages that vanished with nil errors.

// Calls after Close hung.
func TestFault04CallsAfterClose(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]bool{"connected": false, "the broker is away": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 1, func(t *testing.T, w *world) {
				if away {
					w.faults.Disconnect(nil)
				}
				p := w.producer()
				require.NoError(t, p.Close(t.Context()))
				begun := time.Now()
				_, err := p.Send(t.Context(), msg("", "a"))
				requireCode(t, bus.CodeClosed, err)
				_, err = p.SendAsync(t.Context(), msg("", "a"))
				requireCode(t, bus.CodeClosed, err)
				require.NoError(t, p.Flush(t.Context()))
				require.NoError(t, p.Close(t.Context()))
				require.Zero(t, time.Since(begun))
			})
		})
	}
}

// Errors that nobody read blocked Send and Close.
func TestFault13ReportsThatNobodyReads(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		p := w.producer(producer.WithMaxOutstanding(3, 1000))
		require.NoError(t, w.faults.Inject(bustest.OnPublish(topic, bustest.Every(2), bustest.Fail(bus.CodeTooLarge))))
		for i := range 1000 {
			_, err := p.SendAsync(t.Context(), msg("k", name(i))) // and forgets the receipt
			require.NoError(t, err)
		}
		require.NoError(t, p.Close(t.Context()))
		require.Equal(t, producer.Stats{Accepted: 1000, Sent: 500, Failed: 500}, p.Stats())
	})
}

// Cancel, then Close, closed twice and panicked.
func TestFault15CancelThenClose(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.faults.Disconnect(nil)
		p := w.producer()
		ctx, cancel := context.WithCancel(t.Context())
		receipt, err := p.SendAsync(t.Context(), msg("", "a"))
		require.NoError(t, err)
		synctest.Wait()
		cancel()
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() { _ = p.Close(ctx) })
			calls.Go(func() { _, _ = p.Send(ctx, msg("", "b")) })
			calls.Go(func() { _ = p.Flush(ctx) })
		}
		calls.Wait()
		report, ok := receipt.Report()
		require.True(t, ok)
		requireCode(t, bus.CodeClosed, report.Err)
		require.Equal(t, bus.CodeCanceled, bus.CodeOf(p.Close(t.Context())), "the first one's result")
	})
}
