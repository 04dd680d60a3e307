package producer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/producer"
	"github.com/trunkline/trunkline/testing/bustest"
)

// withFixture runs f in a synctest bubble.
func withFixture(t *testing.T, partitions int32, f func(t *testing.T, w *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t, partitions)
		f(t, w)
		w.close()
	})
}

func TestSendReturnsReportOfTheLog(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		p := w.producer()
		require.Equal(t, topic, p.Topic())
		r, err := p.Send(t.Context(), msg("k", "a"))
		require.NoError(t, err)
		require.Equal(t, producer.Report{Topic: topic, Partition: 0, Offset: 0}, r)
		receipt, err := p.SendAsync(t.Context(), msg("k", "b"))
		require.NoError(t, err)
		r, err = receipt.Wait(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, r.Offset)
		<-receipt.Done()
		again, ok := receipt.Report()
		require.True(t, ok)
		require.Equal(t, r, again)
		require.NoError(t, p.Shutdown(t.Context()))
		require.Equal(t, []string{"a", "b"}, payloads(w.log()[0]))
		require.Equal(t, producer.Stats{Accepted: 2, Sent: 2}, p.Stats())
	})
}

func TestNewAndSendRejectInvalidArguments(t *testing.T) {
	t.Parallel()
	w := newFixture(t, 1)
	defer w.close()
	for _, o := range []producer.Option{
		producer.WithOutagePolicy(producer.Buffer + 1), producer.WithMaxOutstanding(0, 1), producer.WithMaxOutstanding(1, 0), producer.WithDeliveryTimeout(0),
	} {
		_, err := producer.New(w.bus, topic, o)
		requireCode(t, bus.CodeInvalidArgument, err)
	}
	_, err := producer.New(nil, topic)
	requireCode(t, bus.CodeInvalidArgument, err)
	_, err = producer.New(w.bus, "")
	requireCode(t, bus.CodeInvalidArgument, err)

	p := w.producer(producer.WithOutagePolicy(producer.Wait), producer.WithMaxOutstanding(10, 10))
	_, err = p.Send(t.Context(), nil)
	requireCode(t, bus.CodeInvalidArgument, err)
	_, err = p.Send(t.Context(), msg("", "longer than the limit"))
	requireCode(t, bus.CodeTooLarge, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := p.Send(ended, msg("", "a"))
	requireCode(t, bus.CodeCanceled, err)
	require.Equal(t, bus.CodeCanceled, r.Code())
	require.NoError(t, p.Shutdown(t.Context()))
	require.NoError(t, p.Shutdown(t.Context()))
	_, err = p.SendAsync(t.Context(), msg("", "a"))
	requireCode(t, bus.CodeClosed, err)
	require.EqualValues(t, 4, p.Stats().Rejected)

	nowhere, err := producer.New(w.bus, "no-such-topic")
	require.NoError(t, err)
	_, err = nowhere.Send(t.Context(), msg("", "a"))
	requireCode(t, bus.CodeNotFound, err)
	require.NoError(t, nowhere.Shutdown(t.Context()))
}

func TestWaitPolicySendsAfterTheOutage(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.faults.Disconnect(nil)
		p := w.producer()
		begun := time.Now()
		time.AfterFunc(20*time.Second, w.faults.Connect)
		async, err := p.SendAsync(t.Context(), msg("", "a"))
		require.NoError(t, err)
		_, err = p.Send(t.Context(), msg("", "b"))
		require.NoError(t, err)
		require.InDelta(t, 20, time.Since(begun).Seconds(), 2)
		_, err = async.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.Shutdown(t.Context()))
		require.Equal(t, []string{"a", "b"}, payloads(w.log()[0]))
	})
}

func TestWaitPolicyEndsWithTheContext(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.faults.Disconnect(nil)
		p := w.producer()
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := p.Send(ctx, msg("", "a"))
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(begun))

		canceled, end := context.WithCancel(t.Context())
		receipt, err := p.SendAsync(canceled, msg("", "b"))
		require.NoError(t, err)
		end()
		_, err = receipt.Wait(t.Context())
		requireCode(t, bus.CodeCanceled, err)

		begun = time.Now()
		_, err = p.Send(t.Context(), msg("", "c"))
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.Equal(t, 30*time.Second, time.Since(begun), "the default delivery timeout")
		require.Equal(t, producer.Stats{Accepted: 3, Failed: 3}, p.Stats())
		w.faults.Connect()
		require.NoError(t, p.Shutdown(t.Context()))
		require.Empty(t, w.log(), "what was reported as not sent is not in the log")
	})
}

func TestOutcomeAfterTheContextEnded(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.late.decide = func(string) (behavior, time.Duration) { return passed, time.Minute }
		p := w.producer()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Send(ctx, msg("", "a"))
		requireCode(t, bus.CodeOutcomeUnknown, err)
		receipt, err := p.SendAsync(ctx, msg("", "b"))
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.Nil(t, receipt)
		short, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		receipt, err = p.SendAsync(short, msg("", "c"))
		require.NoError(t, err)
		_, err = receipt.Wait(short)
		requireCode(t, bus.CodeOutcomeUnknown, err)
		_, ok := receipt.Report()
		require.False(t, ok)
		_, err = receipt.Wait(t.Context())
		require.NoError(t, err, "the receipt gets the real outcome")
		require.NoError(t, p.Shutdown(t.Context()))
		require.Equal(t, []string{"a", "c"}, payloads(w.log()[0]))
		require.Equal(t, producer.Stats{Accepted: 2, Sent: 1, Unknown: 1, Rejected: 1}, p.Stats())
	})
}

func TestMaxOutstandingBlocksSenders(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.late.decide = func(string) (behavior, time.Duration) { return passed, time.Second }
		p := w.producer(producer.WithMaxOutstanding(2, 1000))
		begun := time.Now()
		for i := range 5 {
			_, err := p.SendAsync(t.Context(), msg("", name(i)))
			require.NoError(t, err)
		}
		require.Equal(t, 2*time.Second, time.Since(begun))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := p.SendAsync(ctx, msg("", "fits"))
		require.NoError(t, err, "a message got its report meanwhile")
		_, err = p.SendAsync(ctx, msg("", "does not fit"))
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.NoError(t, p.Shutdown(t.Context()))
	})
}

func TestFailFastPolicyFailsWhileDisconnected(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		cable := errors.New("the cable is unplugged")
		w.faults.Disconnect(cable)
		p := w.producer(producer.WithOutagePolicy(producer.FailFast))
		begun := time.Now()
		_, err := p.Send(t.Context(), msg("", "a"))
		requireCode(t, bus.CodeUnavailable, err)
		require.ErrorIs(t, err, cable)
		_, err = p.SendAsync(t.Context(), msg("", "b"))
		requireCode(t, bus.CodeUnavailable, err)
		w.faults.Connect()
		_, err = p.Send(t.Context(), msg("", "c"))
		require.NoError(t, err)
		require.NoError(t, w.faults.Inject(bustest.OnPublish(topic, bustest.Nth(1), bustest.Disconnect(0))))
		_, err = p.Send(t.Context(), msg("", "d"))
		requireCode(t, bus.CodeUnavailable, err)
		require.Zero(t, time.Since(begun))
		w.faults.Connect()
		require.NoError(t, p.Shutdown(t.Context()))
		require.Equal(t, []string{"c"}, payloads(w.log()[0]))
	})
}

// A message that is sent after the reconnect must not fail because of the state before it.
func TestFailFastPolicyUsesTheLatestConnectionState(t *testing.T) {
	t.Parallel()
	w := newFixture(t, 1)
	defer w.close()
	for range 300 {
		w.faults.Disconnect(nil)
		p := w.producer(producer.WithOutagePolicy(producer.FailFast))
		w.faults.Connect()
		_, err := p.Send(t.Context(), msg("", "a"))
		require.NoError(t, err)
		require.NoError(t, p.Shutdown(t.Context()))
	}
}

func TestBufferPolicyKeepsMessagesUpToTheLimit(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.faults.Disconnect(nil)
		p := w.producer(producer.WithOutagePolicy(producer.Buffer), producer.WithMaxOutstanding(3, 100))
		var receipts []*producer.Receipt
		for i := range 3 {
			r, err := p.SendAsync(t.Context(), msg("", name(i)))
			require.NoError(t, err)
			receipts = append(receipts, r)
		}
		begun := time.Now()
		_, err := p.SendAsync(t.Context(), msg("", "one too many"))
		requireCode(t, bus.CodeResourceExhausted, err)
		require.Zero(t, time.Since(begun))
		require.Equal(t, 3, p.Stats().Queued)
		time.Sleep(24 * time.Hour) // of the bubble's clock; longer than every default
		w.faults.Connect()
		for i, r := range receipts {
			report, err := r.Wait(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, i, report.Offset, "in order")
		}
		require.NoError(t, p.Shutdown(t.Context()))

		bytes := w.producer(producer.WithOutagePolicy(producer.Buffer), producer.WithMaxOutstanding(10, 20))
		w.faults.Disconnect(nil)
		_, err = bytes.SendAsync(t.Context(), msg("", "eight by"))
		require.NoError(t, err)
		_, err = bytes.SendAsync(t.Context(), msg("", "eight by"))
		requireCode(t, bus.CodeResourceExhausted, err)
		w.faults.Connect()
		require.NoError(t, bytes.Shutdown(t.Context()))
	})
}

func TestBufferPolicyWithDeliveryTimeout(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		w.faults.Disconnect(nil)
		p := w.producer(producer.WithOutagePolicy(producer.Buffer), producer.WithMaxOutstanding(3, 100), producer.WithDeliveryTimeout(time.Minute))
		r, err := p.SendAsync(t.Context(), msg("", "a"))
		require.NoError(t, err)
		begun := time.Now()
		_, err = r.Wait(t.Context())
		requireCode(t, bus.CodeDeadlineExceeded, err)
		require.Equal(t, time.Minute, time.Since(begun))
		require.Zero(t, p.Stats().OutstandingBytes, "the expired message uses no space")
		require.NoError(t, p.Shutdown(t.Context()))
	})
}

// A message that the transport returns after it sent a later one of the same key must not
// be sent again. All others are, in their order.
func TestReturnedMessagesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	withFixture(t, 1, func(t *testing.T, w *fixture) {
		failures := map[string]time.Duration{"a1": 3 * time.Second, "b1": 2 * time.Second, "b2": time.Second, "c1": time.Second}
		w.late.decide = func(payload string) (behavior, time.Duration) {
			if d, ok := failures[payload]; ok {
				delete(failures, payload)
				return unavailable, d
			}
			return passed, time.Second
		}
		p := w.producer()
		reports := map[string]*producer.Receipt{}
		for _, m := range []string{"a1", "a2", "b1", "b2", "c1", "d1"} {
			key := m[:1]
			if key == "c" {
				key = ""
			}
			r, err := p.SendAsync(t.Context(), msg(key, m))
			require.NoError(t, err)
			reports[m] = r
		}
		require.NoError(t, p.Flush(t.Context()))
		for m, r := range reports {
			_, err := r.Wait(t.Context())
			if m == "a1" {
				requireCode(t, bus.CodeUnavailable, err)
				require.ErrorContains(t, err, "to keep the order")
			} else {
				require.NoError(t, err, m)
			}
		}
		require.NoError(t, p.Shutdown(t.Context()))
		require.Equal(t, []string{"a2", "d1", "b1", "b2", "c1"}, payloads(w.log()[0]))
		require.EqualValues(t, 4, p.Stats().Retried)
	})
}
