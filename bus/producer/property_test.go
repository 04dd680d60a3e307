package producer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/producer"
)

// sending is one message of a generated program.
type sending struct {
	key       string
	pause     time.Duration // before the message
	timeout   time.Duration // of its context; 0 is none
	blocks    bool          // Send on a separate goroutine; else SendAsync
	behaviors []behavior    // of its first attempts; all later ones are passed
	delay     time.Duration // of each outcome
}

type program struct {
	policy   producer.OutagePolicy
	messages []sending
	outages  []time.Duration // alternately connected and cut
	closing  time.Duration
}

func drawProgram(t *rapid.T) program {
	ms := func(most int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(0, most), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
	}
	never := rapid.Just(time.Duration(0))
	message := rapid.Custom(func(t *rapid.T) sending {
		return sending{
			key:       rapid.SampledFrom([]string{"", "a", "a", "b"}).Draw(t, "key"),
			pause:     rapid.OneOf(never, never, never, ms(200)).Draw(t, "pause"),
			timeout:   rapid.OneOf(never, never, never, ms(300)).Draw(t, "timeout"),
			blocks:    rapid.Bool().Draw(t, "blocks"),
			behaviors: rapid.SliceOfN(rapid.SampledFrom([]behavior{passed, passed, unavailable, unavailable, unavailable, lost, stored}), 0, 3).Draw(t, "behaviors"),
			delay:     rapid.OneOf(never, ms(100)).Draw(t, "delay"),
		}
	})
	return program{
		policy:   rapid.SampledFrom([]producer.OutagePolicy{producer.Wait, producer.FailFast, producer.Buffer}).Draw(t, "policy"),
		messages: rapid.SliceOfN(message, 1, 40).Draw(t, "messages"),
		outages:  rapid.SliceOfN(ms(500), 0, 6).Draw(t, "outages"),
		closing:  ms(2000).Draw(t, "closing"),
	}
}

const bound = 8

// For every program, transport and connection: each accepted message gets one report, the
// report agrees with the log, no message is in the log twice, and the log has the messages
// of each key in the order in which they were accepted.
func TestEveryMessageIsReportedOnceAndInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		pr := drawProgram(rt)
		synctest.Test(t, func(t *testing.T) { run(t, pr) })
	})
}

func run(t *testing.T, pr program) {
	w := newFixture(t, 2)
	defer w.close()
	behaviors := map[string][]behavior{}
	delays := map[string]time.Duration{}
	for i, m := range pr.messages {
		behaviors[name(i)], delays[name(i)] = m.behaviors, m.delay
	}
	w.late.decide = func(payload string) (behavior, time.Duration) {
		f := behaviors[payload]
		if len(f) == 0 {
			return passed, delays[payload]
		}
		behaviors[payload] = f[1:]
		return f[0], delays[payload]
	}
	ctx := t.Context()
	var connection sync.WaitGroup
	connection.Go(func() {
		for i, d := range pr.outages {
			time.Sleep(d)
			if i%2 == 0 {
				w.faults.Disconnect(nil)
			} else {
				w.faults.Connect()
			}
		}
		time.Sleep(100 * time.Millisecond)
		w.faults.Connect()
	})
	p := w.producer(producer.WithOutagePolicy(pr.policy), producer.WithMaxOutstanding(bound, 1<<20))

	var mu sync.Mutex
	reports := map[string]producer.Report{}
	report := func(m string, r producer.Report) {
		mu.Lock()
		defer mu.Unlock()
		_, twice := reports[m]
		assert.False(t, twice, m)
		reports[m] = r
	}
	var senders sync.WaitGroup
	for i, m := range pr.messages {
		time.Sleep(m.pause)
		ctx, cancel := ctx, context.CancelFunc(func() {})
		if m.timeout > 0 {
			ctx, cancel = context.WithTimeout(ctx, m.timeout)
		}
		if m.blocks {
			senders.Go(func() {
				defer cancel()
				r, err := p.Send(ctx, msg(m.key, name(i)))
				assert.Equal(t, r.Err, err)
				report(name(i), r)
			})
			accepted(p, i+1)
			continue
		}
		receipt, err := p.SendAsync(ctx, msg(m.key, name(i)))
		if err != nil {
			cancel()
			report(name(i), producer.Report{Err: err})
			continue
		}
		senders.Go(func() {
			defer cancel()
			<-receipt.Done()
			r, _ := receipt.Report()
			report(name(i), r)
		})
	}
	closing, cancel := context.WithTimeout(ctx, pr.closing)
	defer cancel()
	closed := p.Shutdown(closing)
	senders.Wait()
	connection.Wait()
	w.late.timers.Wait()
	require.Len(t, reports, len(pr.messages))

	s := p.Stats()
	require.Equal(t, s.Accepted, s.Sent+s.Failed+s.Unknown)
	require.Zero(t, s.Queued+s.InFlight+s.Outstanding+s.OutstandingBytes)
	require.EqualValues(t, len(pr.messages), s.Accepted+s.Rejected)
	if closed != nil {
		require.Equal(t, bus.CodeDeadlineExceeded, bus.CodeOf(closed))
	}
	check(t, pr, w, reports)
}

// accepted waits until n messages are accepted or rejected. Without it the order of two
// concurrent sends is not known.
func accepted(p *producer.Producer, n int) {
	for {
		synctest.Wait()
		if s := p.Stats(); s.Accepted+s.Rejected >= uint64(n) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func check(t *testing.T, pr program, w *fixture, reports map[string]producer.Report) {
	at := map[string]string{}
	for partition, recs := range w.log() {
		last := map[string]string{}
		for _, r := range recs {
			m := string(r.Payload)
			require.NotContains(t, at, m, "it is in the log twice")
			at[m] = fmt.Sprintf("%d/%d", partition, r.Offset)
			if key := string(r.Key); key != "" {
				require.Less(t, last[key], m, "the order of %q", key)
				last[key] = m
			}
		}
	}
	allowed := []bus.Code{bus.CodeCanceled, bus.CodeDeadlineExceeded, bus.CodeClosed, bus.CodeUnavailable}
	if pr.policy == producer.Buffer {
		allowed = append(allowed, bus.CodeResourceExhausted)
	}
	for m, r := range reports {
		where, there := at[m]
		switch {
		case r.Err == nil:
			require.Equal(t, fmt.Sprintf("%d/%d", r.Partition, r.Offset), where, m)
		case r.Code() == bus.CodeOutcomeUnknown:
		default:
			require.False(t, there, "%s is in the log although: %v", m, r.Err)
			require.True(t, slices.Contains(allowed, r.Code()), "%s: %v", m, r.Err)
		}
	}
}

// With the policies Wait and Buffer, an outage that ends in time loses no message and
// changes no order.
func TestOutageLosesNoMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		pr := drawProgram(rt)
		policy := rapid.SampledFrom([]producer.OutagePolicy{producer.Wait, producer.Buffer}).Draw(rt, "outage policy")
		synctest.Test(t, func(t *testing.T) {
			w := newFixture(t, 1)
			defer w.close()
			p := w.producer(producer.WithOutagePolicy(policy), producer.WithDeliveryTimeout(time.Hour), producer.WithMaxOutstanding(100, 1<<20))
			var connection sync.WaitGroup
			connection.Go(func() {
				for _, d := range pr.outages {
					w.faults.Disconnect(nil)
					time.Sleep(d)
					w.faults.Connect()
					time.Sleep(d)
				}
			})
			var want []string
			for i, m := range pr.messages {
				time.Sleep(m.pause)
				_, err := p.SendAsync(t.Context(), msg(m.key, name(i)))
				require.NoError(t, err)
				want = append(want, name(i))
			}
			require.NoError(t, p.Shutdown(t.Context()))
			connection.Wait()
			require.Equal(t, want, payloads(w.log()[0]), "every message, in order, once")
		})
	})
}
