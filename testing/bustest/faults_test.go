package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/memory"
)

const timeout = time.Minute

var errCause = errors.New("the cause")

// faultyBus is a bus on Faults on a log with the topics "t" and "u".
type faultyBus struct {
	*bus.Bus
	faults *bustest.Faults
	log    *memory.Log
}

func newFaultyBus(t require.TestingT, seed uint64, partitions int32, rules ...bustest.Rule) *faultyBus {
	tr, err := memory.New()
	require.NoError(t, err)
	for _, topic := range []string{"t", "u"} {
		require.NoError(t, tr.CreateTopic(context.Background(), driver.TopicSpec{Name: topic, Partitions: partitions}))
	}
	f, err := bustest.NewFaults(tr, seed, rules...)
	require.NoError(t, err)
	b, err := bus.New(f, bus.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	return &faultyBus{b, f, tr.Log()}
}

// numbered returns n messages with the payloads "0", "1" and so on.
func numbered(n int) []*message.Message {
	ms := make([]*message.Message, n)
	for i := range ms {
		ms[i] = message.NewMessage(strconv.Itoa(i), []byte(strconv.Itoa(i)))
	}
	return ms
}

// outcomes publishes the messages and returns the code of each, "" for success.
func (r *faultyBus) outcomes(topic string, ms ...*message.Message) []string {
	codes := make([]string, len(ms))
	if e, ok := errors.AsType[*bus.PublishError](r.Publish(topic, ms...)); ok {
		for i, o := range e.Outcomes {
			if o.Err != nil {
				codes[i] = bus.CodeOf(o.Err).String()
			}
		}
	}
	return codes
}

// consume sends the payloads of a topic to a channel, which is large enough for all of them.
func (r *faultyBus) consume(t require.TestingT, topic string, opts ...bus.SubscribeOption) (<-chan string, *bus.Subscription) {
	got := make(chan string, 10_000)
	s, err := r.Consume(context.Background(), topic, func(_ context.Context, d *bus.Delivery) error {
		got <- string(d.Payload)
		return nil
	}, opts...)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	require.NoError(t, s.Ready(ctx))
	return got, s
}

// take receives n values.
func take(t require.TestingT, c <-chan string, n int) []string {
	var all []string
	for len(all) < n {
		select {
		case s := <-c:
			all = append(all, s)
		case <-time.After(timeout):
			require.Len(t, all, n, "received within %v", timeout)
			return all
		}
	}
	return all
}

func TestRulesCountEachTopicSeparately(t *testing.T) {
	t.Parallel()
	r := newFaultyBus(t, 1, 1, bustest.OnPublish("t", bustest.Nth(2, 4), bustest.Fail(bus.CodeUnavailable)),
		bustest.OnPublish("", bustest.Every(3), bustest.Fail(bus.CodeResourceExhausted)))
	defer r.Close()
	got, _ := r.consume(t, "t")
	require.Equal(t, []string{"", "unavailable", "resource_exhausted", "unavailable", "", "resource_exhausted", ""}, r.outcomes("t", numbered(7)...))
	require.Equal(t, []string{"", "", "resource_exhausted"}, r.outcomes("u", numbered(3)...), "each topic is counted by itself")
	require.Equal(t, []string{"0", "4", "6"}, take(t, got, 3))
	r.faults.Clear()
	require.Equal(t, make([]string, 9), r.outcomes("t", numbered(9)...))
	require.NoError(t, r.faults.Inject(bustest.OnPublish("t", bustest.Always(), bustest.Fail(bus.CodePermissionDenied))))
	require.Equal(t, []string{"permission_denied"}, r.outcomes("t", numbered(1)...))
}

func TestDelayIsBoundedByTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newFaultyBus(t, 1, 1, bustest.OnPublish("t", bustest.Nth(2, 4), bustest.Delay(time.Minute)),
			bustest.OnFetch("t", bustest.Nth(1), bustest.Delay(time.Hour)))
		defer r.Close()
		got, _ := r.consume(t, "t")
		begin := time.Now()
		long, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		ms := numbered(3)
		for _, m := range ms {
			m.SetContext(long)
		}
		require.NoError(t, r.Publish("t", ms...))
		require.Equal(t, time.Minute, time.Since(begin))
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := numbered(1)
		late[0].SetContext(short)
		require.Error(t, r.Publish("t", late...))
		require.Equal(t, time.Minute+time.Second, time.Since(begin), "the context bounds the delay")
		require.Equal(t, "0", <-got)
		require.Equal(t, time.Hour, time.Since(begin))
		require.Equal(t, []string{"1", "2"}, []string{<-got, <-got})
		require.Equal(t, time.Hour, time.Since(begin), "one rule delays one fetch")
	})
}

func TestDuplicatePublishesTwice(t *testing.T) {
	t.Parallel()
	r := newFaultyBus(t, 1, 1, bustest.OnPublish("t", bustest.Nth(2), bustest.Duplicate()))
	defer r.Close()
	got, _ := r.consume(t, "t")
	require.Equal(t, make([]string, 3), r.outcomes("t", numbered(3)...))
	require.Equal(t, []string{"0", "1", "1", "2"}, take(t, got, 4))
}

func TestOutcomesAreLostAndHeld(t *testing.T) {
	t.Parallel()
	r := newFaultyBus(t, 1, 1, bustest.OnPublish("t", bustest.Nth(1), bustest.LoseOutcome()),
		bustest.OnPublish("t", bustest.Nth(2, 3), bustest.HoldOutcome()))
	got, _ := r.consume(t, "t")
	require.Equal(t, []string{"outcome_unknown"}, r.outcomes("t", numbered(1)...))
	outcomes := make(chan bus.Outcome, 1)
	done := func(o bus.Outcome) { outcomes <- o }
	r.PublishAsync(t.Context(), "t", numbered(1)[0], done)
	require.Equal(t, []string{"0", "0"}, take(t, got, 2), "both are in the log")
	select {
	case o := <-outcomes:
		require.Fail(t, "the outcome was not held", "%v", o)
	default:
	}
	r.faults.ReleaseOutcomes()
	require.Equal(t, bus.Outcome{Offset: 1}, <-outcomes)
	r.PublishAsync(t.Context(), "t", numbered(1)[0], done)
	take(t, got, 1)
	require.NoError(t, r.Close())
	require.Equal(t, bus.CodeOutcomeUnknown, bus.CodeOf((<-outcomes).Err), "Close reports outcomes that are still held")
}

// connections records the connection's states.
type connections struct {
	mu     sync.Mutex
	states []string
}

func (c *connections) OnConnection(x driver.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = append(c.states, x.State.String())
}

func TestDisconnectWithADurationReconnects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := memory.New()
		require.NoError(t, err)
		f, err := bustest.NewFaults(tr, 1, bustest.OnPublish("t", bustest.Nth(3), bustest.Disconnect(time.Minute)))
		require.NoError(t, err)
		var recorded connections
		b, err := bus.New(f, bus.WithHooks(&recorded))
		require.NoError(t, err)
		r := &faultyBus{b, f, tr.Log()}
		defer r.Close()
		require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "t"}))
		got, s := r.consume(t, "t")
		group, member := r.consume(t, "t", bus.Group("g"))
		require.Equal(t, []string{"", "", "unavailable", "unavailable"}, r.outcomes("t", numbered(4)...))
		synctest.Wait()
		for _, s := range []*bus.Subscription{s, member} {
			assigned, why := s.Assigned()
			require.False(t, assigned)
			require.Equal(t, bus.CodeUnavailable, bus.CodeOf(why))
		}
		require.Equal(t, driver.Disconnected, b.Connection().State)
		require.Equal(t, bus.CodeUnavailable, bus.CodeOf(b.Ping(t.Context())))
		require.Equal(t, bus.CodeUnavailable, bus.CodeOf(b.CreateTopic(t.Context(), bus.TopicSpec{Name: "v"})))
		_, err = b.ListTopics(t.Context())
		require.Equal(t, bus.CodeUnavailable, bus.CodeOf(err))
		listening, err := seam.Of(b).Listening("t")
		require.NoError(t, err)
		require.True(t, listening, "a disconnected subscription counts")

		begin := time.Now()
		require.NoError(t, b.Ready(t.Context()))
		require.Equal(t, time.Minute, time.Since(begin))
		require.NoError(t, s.Ready(t.Context()))
		require.NoError(t, member.Ready(t.Context()))
		require.Equal(t, make([]string, 2), r.outcomes("t", numbered(2)...))
		require.Equal(t, []string{"0", "1", "0", "1"}, take(t, got, 4), "a message that is Unavailable is not sent")
		require.Equal(t, []string{"0", "1", "0", "1"}, take(t, group, 4))
		synctest.Wait() // Ready may return before the hook is called
		require.Equal(t, []string{"connected", "disconnected", "connected"}, recorded.states)
	})
}

func TestSubscribeWhileDisconnected(t *testing.T) {
	t.Parallel()
	r := newFaultyBus(t, 1, 1)
	defer r.Close()
	r.faults.Disconnect(errCause)
	r.faults.Disconnect(errors.New("the first cause stays"))
	require.ErrorIs(t, r.Connection().Cause, errCause)
	s, err := r.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil })
	require.NoError(t, err)
	r.faults.Connect()
	r.faults.Connect()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	require.NoError(t, s.Ready(ctx))

	r.faults.Disconnect(nil)
	nowhere, err := r.Consume(t.Context(), "nowhere", func(context.Context, *bus.Delivery) error { return nil })
	require.NoError(t, err)
	waits, err := r.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"))
	require.NoError(t, err)
	require.NoError(t, waits.Shutdown(ctx), "Close while disconnected")
	r.faults.Connect()
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(nowhere.Ready(ctx)))
}

func TestCloseWhileDisconnected(t *testing.T) {
	t.Parallel()
	r := newFaultyBus(t, 1, 4, bustest.OnPublish("t", bustest.Always(), bustest.Delay(time.Hour)))
	r.consume(t, "t")
	r.consume(t, "t", bus.Group("g"))
	outcomes := make(chan bus.Outcome, 1)
	go r.PublishAsync(context.Background(), "t", numbered(1)[0], func(o bus.Outcome) { outcomes <- o })
	r.faults.Disconnect(nil)
	require.NoError(t, r.Close())
	require.Contains(t, []bus.Code{bus.CodeClosed, bus.CodeUnavailable}, bus.CodeOf((<-outcomes).Err))
	r.faults.Connect() // no effect after Close
}

func TestRebalanceRevokesAndRedelivers(t *testing.T) {
	t.Parallel()
	r := newFaultyBus(t, 1, 4)
	defer r.Close()
	require.Equal(t, bus.CodeNotFound, bus.CodeOf(r.faults.Rebalance("g", "t")))
	causes := make(chan error, 10)
	acked := make(chan string, 100)
	s, err := r.Consume(t.Context(), "t", func(ctx context.Context, d *bus.Delivery) error {
		if d.Payload[0] == '0' && len(causes) == 0 && len(acked) == 0 {
			assert.NoError(t, r.faults.Rebalance("g", "t"))
			select {
			case <-ctx.Done():
			case <-time.After(timeout):
			}
			causes <- context.Cause(ctx)
			return nil // a revoked claim can still commit
		}
		acked <- string(d.Payload)
		return nil
	}, bus.Group("g"))
	require.NoError(t, err)
	first := numbered(1)
	bus.SetPartition(first[0], 0)
	require.Equal(t, []string{""}, r.outcomes("t", first...))
	require.Equal(t, bus.CodeRevoked, bus.CodeOf(<-causes))
	rest := numbered(5)[1:]
	for i, m := range rest {
		bus.SetPartition(m, int32(i))
	}
	require.Equal(t, make([]string, 4), r.outcomes("t", rest...))
	require.ElementsMatch(t, []string{"1", "2", "3", "4"}, take(t, acked, 4), "a message acknowledged after the revocation is not delivered again")
	require.NoError(t, s.Shutdown(t.Context()))

	ch, err := gochannel.New()
	require.NoError(t, err)
	f, err := bustest.NewFaults(ch, 1)
	require.NoError(t, err)
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(f.Rebalance("g", "t")))
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(f.CreateTopic(t.Context(), bus.TopicSpec{Name: "t"})))
	require.NoError(t, f.Close(t.Context()))
}

func TestCorruptRecordEndsTheSubscription(t *testing.T) {
	t.Parallel()
	r := newFaultyBus(t, 1, 1, bustest.OnFetch("t", bustest.Nth(2), bustest.Corrupt(errCause)))
	defer r.Close()
	_, s := r.consume(t, "t")
	require.NoError(t, r.Publish("t", numbered(3)...))
	<-s.Done()
	require.Equal(t, bus.CodeUndecodable, bus.CodeOf(s.Err()))
	require.ErrorIs(t, s.Err(), errCause)
}

func TestSameSeedCausesSameFaults(t *testing.T) {
	t.Parallel()
	failed := func(seed uint64, topic string) (n int, codes string) {
		r := newFaultyBus(t, seed, 1, bustest.OnPublish("", bustest.Probability(0.2), bustest.Fail(bus.CodeUnavailable)))
		defer r.Close()
		for _, c := range r.outcomes(topic, numbered(1000)...) {
			if c != "" {
				n++
				c = "x"
			}
			codes += c + "."
		}
		return n, codes
	}
	n, one := failed(1, "t")
	require.InDelta(t, 200, n, 60)
	_, again := failed(1, "t")
	require.Equal(t, one, again)
	_, two := failed(2, "t")
	require.NotEqual(t, one, two)
	_, other := failed(1, "u")
	require.NotEqual(t, one, other)
}

func TestInvalidRulesAreRejected(t *testing.T) {
	t.Parallel()
	r := newFaultyBus(t, 1, 1)
	defer r.Close()
	for name, rule := range map[string]bustest.Rule{
		"the zero rule":        {},
		"no When":              bustest.OnPublish("t", bustest.When{}, bustest.Duplicate()),
		"no Action":            bustest.OnPublish("t", bustest.Always(), bustest.Action{}),
		"number 0":             bustest.OnPublish("t", bustest.Nth(0), bustest.Duplicate()),
		"every 0":              bustest.OnPublish("t", bustest.Every(0), bustest.Duplicate()),
		"probability 2":        bustest.OnPublish("t", bustest.Probability(2), bustest.Duplicate()),
		"a fetch fails":        bustest.OnFetch("t", bustest.Always(), bustest.Fail(bus.CodeUnavailable)),
		"a publish is corrupt": bustest.OnPublish("t", bustest.Always(), bustest.Corrupt(errCause)),
		"no cause":             bustest.OnFetch("t", bustest.Always(), bustest.Corrupt(nil)),
		"a negative delay":     bustest.OnFetch("t", bustest.Always(), bustest.Delay(-1)),
	} {
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(r.faults.Inject(rule)), name)
		_, err := bustest.NewFaults(r.faults, 1, rule)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), name)
	}
	_, err := bustest.NewFaults(nil, 1)
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
}

// This test shows how to check a program under random faults. Whatever the faults, no published
// message is lost, and the messages of a key are handled in order. To reproduce a failure, run the
// subtest of its seed.
func TestGuaranteesHoldUnderRandomFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const n, keys = 300, 7
			r := newFaultyBus(t, seed, 3,
				bustest.OnPublish("t", bustest.Probability(0.05), bustest.Fail(bus.CodeUnavailable)),
				bustest.OnPublish("t", bustest.Probability(0.05), bustest.LoseOutcome()),
				bustest.OnPublish("t", bustest.Probability(0.05), bustest.Duplicate()),
				bustest.OnPublish("t", bustest.Probability(0.02), bustest.Delay(time.Millisecond)),
				bustest.OnPublish("t", bustest.Probability(0.03), bustest.Disconnect(2*time.Millisecond)),
				bustest.OnPublish("t", bustest.Probability(0.03), bustest.Rebalance()),
				bustest.OnFetch("t", bustest.Probability(0.01), bustest.Rebalance()),
				bustest.OnFetch("t", bustest.Probability(0.01), bustest.Disconnect(time.Millisecond)),
				bustest.OnFetch("t", bustest.Probability(0.05), bustest.Delay(time.Millisecond)))
			defer r.Close()
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			// A handler must not call require: the worker that called it would never return. It
			// reports the first failure to the test instead.
			var mu sync.Mutex
			acknowledged := map[int]bool{}
			failed, complete := make(chan string, 1), make(chan struct{})
			handle := func(_ context.Context, d *bus.Delivery) error {
				i, err := strconv.Atoi(string(d.Payload))
				if err != nil {
					return bus.Stop(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if i >= keys && !acknowledged[i-keys] {
					select {
					case failed <- fmt.Sprintf("message %d was delivered before message %d, which has the same key, was acknowledged", i, i-keys):
					default: // one failure is enough
					}
				}
				if !acknowledged[i] && len(acknowledged) == n-1 {
					close(complete)
				}
				acknowledged[i] = true
				return nil
			}
			var members []*bus.Subscription
			for range 2 {
				s, err := r.Consume(ctx, "t", handle, bus.Group("g"), bus.OrderByKey(), bus.Window(8), bus.Backoff(time.Millisecond, 5*time.Millisecond))
				require.NoError(t, err)
				members = append(members, s)
			}
			for i, m := range numbered(n) {
				bus.SetKey(m, fmt.Sprint("key-", i%keys))
				for r.Publish("t", m) != nil {
					require.NoError(t, r.Ready(ctx))
				}
			}
			select {
			case <-complete:
			case failure := <-failed:
				require.Fail(t, failure)
			case <-ctx.Done():
				require.Fail(t, "not every message was acknowledged")
			}
			for _, s := range members {
				require.NoError(t, s.Err(), "no fault ends a subscription")
			}
			select {
			case failure := <-failed:
				require.Fail(t, failure)
			default:
			}
		})
	}
}
