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

func TestFlush(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.late.decide = func(string) (fate, time.Duration) { return passed, 10 * time.Second }
		p := w.producer()
		require.NoError(t, p.Flush(t.Context()), "there is nothing")
		r, err := p.SendAsync(t.Context(), msg("", "a"))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = p.Flush(ctx)
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.ErrorContains(t, err, "1 messages")
		flushed := make(chan error)
		go func() { flushed <- p.Flush(t.Context()) }()
		time.Sleep(time.Second)
		_, err = p.SendAsync(t.Context(), msg("", "b")) // not waited for
		require.NoError(t, err)
		require.NoError(t, <-flushed)
		_, ok := r.Report()
		require.True(t, ok)
		require.Equal(t, 1, p.Stats().Messages)
		require.NoError(t, p.Close(t.Context()))
	})
}

func TestCloseSendsWhatIsLeft(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.faults.Disconnect(nil)
		p := w.producer(producer.Buffer(10, 1000))
		r, err := p.SendAsync(t.Context(), msg("", "a"))
		require.NoError(t, err)
		time.AfterFunc(time.Minute, w.faults.Connect)
		require.NoError(t, p.Close(t.Context()))
		report, ok := r.Report()
		require.True(t, ok)
		require.NoError(t, report.Err)
		require.Equal(t, []string{"a"}, payloads(w.log()[0]))
	})
}

// one is on its way for an hour, another waits for the broker.
func oneFlyingOneWaiting(t *testing.T, w *world, p *producer.Producer) (flying, waiting *producer.Receipt) {
	t.Helper()
	w.late.decide = func(string) (fate, time.Duration) { return passed, time.Hour }
	flying, err := p.SendAsync(t.Context(), msg("", "flying"))
	require.NoError(t, err)
	synctest.Wait()
	require.Equal(t, 1, p.Stats().InFlight)
	w.faults.Disconnect(nil)
	waiting, err = p.SendAsync(t.Context(), msg("", "waiting"))
	require.NoError(t, err)
	return flying, waiting
}

func TestCloseTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		p := w.producer()
		flying, waiting := oneFlyingOneWaiting(t, w, p)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		err := p.Close(ctx)
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.ErrorContains(t, err, "1 messages were not sent, of 1 the outcome is unknown")
		require.Equal(t, 5*time.Second, time.Since(begun))
		require.Equal(t, err, p.Close(t.Context()), "the first one's result")
		_, err = flying.Wait(t.Context())
		requireCode(t, bus.CodeOutcomeUnknown, err)
		_, err = waiting.Wait(t.Context())
		requireCode(t, bus.CodeClosed, err)
		require.Equal(t, producer.Stats{Accepted: 2, Failed: 1, Unknown: 1, InFlight: 1}, p.Stats())

		w.faults.Connect()
		time.Sleep(2 * time.Hour) // synctest's
		require.Zero(t, p.Stats().InFlight)
		require.Equal(t, []string{"flying"}, payloads(w.log()[0]))
	})
}

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		p := w.producer(producer.Buffer(10, 1000))
		oneFlyingOneWaiting(t, w, p)
		first := make(chan error)
		go func() { first <- p.Close(t.Context()) }()
		synctest.Wait()
		impatient, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		requireCode(t, bus.CodeDeadlineExceeded, p.Close(impatient))
		w.faults.Connect()
		require.NoError(t, <-first)
		require.Equal(t, producer.Stats{Accepted: 2, Sent: 2}, p.Stats())
	})
}

func TestClosedBus(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
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
		require.NoError(t, p.Close(t.Context()))
	})
}

func TestCloseWhileTheTransportHasNoRoom(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.late.decide = func(string) (fate, time.Duration) { return blocked, 0 }
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
		requireCode(t, bus.CodeDeadlineExceeded, p.Close(ctx))
		require.Equal(t, time.Second, time.Since(begun))
		for _, r := range receipts {
			_, ok := r.Report()
			require.True(t, ok)
		}
		require.Empty(t, w.log())
	})
}
