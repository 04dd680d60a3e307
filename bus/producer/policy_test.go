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

// plan gives the first attempt of each message a behavior and a delay. Later attempts, and other
// messages, are passed at once.
func (w *fixture) plan(first map[string]attempt) {
	w.late.decide = func(payload string) (behavior, time.Duration) {
		a := first[payload]
		delete(first, payload)
		return a.behavior, a.delay
	}
}

type attempt struct {
	behavior behavior
	delay    time.Duration
}

// sendAsync requires that the message is accepted.
func sendAsync(ctx context.Context, t *testing.T, p *producer.Producer, key, payload string) *producer.Receipt {
	t.Helper()
	r, err := p.SendAsync(ctx, msg(key, payload))
	require.NoError(t, err)
	return r
}

func TestMaxOutstandingAllowsExactlyTheLimit(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		// UUID and payload are counted: "a" has 2 bytes, "bb" has 4.
		p := w.producer(producer.WithOutagePolicy(producer.Buffer), producer.WithMaxOutstanding(2, 4))
		w.faults.Disconnect(nil)
		sendAsync(t.Context(), t, p, "", "a")
		sendAsync(t.Context(), t, p, "", "b")
		_, err := p.SendAsync(t.Context(), msg("", "c"))
		requireCode(t, bus.CodeResourceExhausted, err)
		w.faults.Connect()
		require.NoError(t, p.Flush(t.Context()))
		_, err = p.Send(t.Context(), msg("", "bb"))
		require.NoError(t, err, "a message as large as the limit")
		_, err = p.Send(t.Context(), msg("", "ccc"))
		requireCode(t, bus.CodeTooLarge, err)
		require.NoError(t, p.Close())
	})
}

func TestReturnedMessageExpiresWithItsContext(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.plan(map[string]attempt{"a": {unavailable, time.Second}, "b": {passed, time.Minute}})
		p := w.producer()
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		a := sendAsync(ctx, t, p, "a", "a")
		b := sendAsync(t.Context(), t, p, "b", "b")
		_, err := a.Wait(t.Context())
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.Equal(t, 2*time.Second, time.Since(begun), "it does not wait for the message in flight")
		_, err = b.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.Close())
		require.Equal(t, []string{"b"}, payloads(w.log()[0]))
	})
}

func TestMessageThatIsReturnedAfterItsContextEndedIsNotSentAgain(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.plan(map[string]attempt{"a": {unavailable, 5 * time.Second}})
		p := w.producer()
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a := sendAsync(ctx, t, p, "", "a")
		synctest.Wait()
		w.faults.Disconnect(nil)
		_, err := a.Wait(t.Context())
		requireCode(t, bus.CodeUnavailable, err)
		require.Equal(t, 5*time.Second, time.Since(begun))
		w.faults.Connect()
		require.NoError(t, p.Close())
		require.Empty(t, w.log())
	})
}

func TestDeadlineOfTheContextReplacesTheDeliveryTimeout(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.faults.Disconnect(nil)
		p := w.producer(producer.WithDeliveryTimeout(time.Second))
		time.AfterFunc(time.Minute, w.faults.Connect)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := p.Send(ctx, msg("", "a"))
		require.NoError(t, err)
		require.NoError(t, p.Close())
	})
}

// While one message of a key waits to be sent again, no later message of the key is sent.
func TestLaterMessagesWaitForReturnedOnes(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.plan(map[string]attempt{"k1": {unavailable, time.Second}, "other": {passed, 5 * time.Second}})
		p := w.producer()
		k1 := sendAsync(t.Context(), t, p, "k", "k1")
		sendAsync(t.Context(), t, p, "o", "other")
		time.Sleep(2 * time.Second)
		k2 := sendAsync(t.Context(), t, p, "k", "k2")
		for _, r := range []*producer.Receipt{k1, k2} {
			_, err := r.Wait(t.Context())
			require.NoError(t, err)
		}
		require.NoError(t, p.Close())
		require.Equal(t, []string{"other", "k1", "k2"}, payloads(w.log()[0]))
	})
}

// A later message whose outcome is unknown may be in the log, so the earlier one must not be
// sent again.
func TestUnknownOutcomeKeepsTheOrder(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.plan(map[string]attempt{"k1": {unavailable, 2 * time.Second}, "k2": {stored, time.Second}})
		p := w.producer()
		k1 := sendAsync(t.Context(), t, p, "k", "k1")
		k2 := sendAsync(t.Context(), t, p, "k", "k2")
		_, err := k1.Wait(t.Context())
		requireCode(t, bus.CodeUnavailable, err)
		require.ErrorContains(t, err, "to keep the order")
		_, err = k2.Wait(t.Context())
		requireCode(t, bus.CodeOutcomeUnknown, err)
		require.NoError(t, p.Close())
		require.Equal(t, []string{"k2"}, payloads(w.log()[0]))
	})
}

func TestShutdownEndsSendersThatWaitForTheLimit(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.faults.Disconnect(nil)
		p := w.producer(producer.WithMaxOutstanding(1, 100))
		sendAsync(t.Context(), t, p, "", "a")
		blocked := make(chan error, 1)
		go func() {
			_, err := p.Send(t.Context(), msg("", "b"))
			blocked <- err
		}()
		synctest.Wait()
		begun := time.Now()
		go func() { _ = p.Close() }()
		requireCode(t, bus.CodeClosed, <-blocked)
		require.Zero(t, time.Since(begun))
		w.faults.Connect()
		require.NoError(t, p.Close())
	})
}

// The pause between attempts grows up to a second and starts anew after a success.
func TestPauseBetweenAttemptsGrows(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		var attempts []time.Time
		fail := true
		w.late.decide = func(string) (behavior, time.Duration) {
			attempts = append(attempts, time.Now())
			if fail {
				return unavailable, 0
			}
			return passed, 0
		}
		p := w.producer(producer.WithDeliveryTimeout(time.Minute))
		time.AfterFunc(50*time.Second, func() { w.late.mu.Lock(); fail = false; w.late.mu.Unlock() })
		_, err := p.Send(t.Context(), msg("", "a"))
		require.NoError(t, err)
		require.LessOrEqual(t, attempts[1].Sub(attempts[0]), 20*time.Millisecond)
		last := len(attempts) - 1
		require.GreaterOrEqual(t, attempts[last].Sub(attempts[last-1]), 500*time.Millisecond)
		require.LessOrEqual(t, attempts[last].Sub(attempts[last-1]), time.Second)

		w.late.mu.Lock()
		attempts = nil
		w.late.mu.Unlock()
		w.plan(map[string]attempt{"b": {unavailable, 0}})
		begun := time.Now()
		_, err = p.Send(t.Context(), msg("", "b"))
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(begun), 20*time.Millisecond)
		require.NoError(t, p.Close())
	})
}

// In a second outage, messages wait for the broker as in the first.
func TestMessagesWaitInEveryOutage(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		p := w.producer()
		for range 2 {
			w.faults.Disconnect(nil)
			time.AfterFunc(5*time.Second, w.faults.Connect)
			_, err := p.Send(t.Context(), msg("", "a"))
			require.NoError(t, err)
		}
		require.Zero(t, p.Stats().Retried, "nothing is sent while the connection is down")
		require.NoError(t, p.Close())
	})
}

// The delivery timeout of the producer replaces that of the bus, which is 30 s.
func TestDeliveryTimeoutReplacesThatOfTheBus(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.plan(map[string]attempt{"a": {blocked, 0}})
		p := w.producer(producer.WithDeliveryTimeout(time.Minute))
		begun := time.Now()
		_, err := sendAsync(t.Context(), t, p, "", "a").Wait(t.Context())
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.Equal(t, time.Minute, time.Since(begun))
		require.NoError(t, p.Close())
	})
}
