package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/delivery"
)

// Handlers settle at once, later, or before they return, with every possible answer. In the end
// each message is acknowledged, and the messages of a key are acknowledged in order. At most
// InFlight messages are handled at a time. The hooks get each outcome.
func TestSettleLaterKeepsOrderAndInFlight(t *testing.T) {
	t.Parallel()
	const count, keys, inFlight = 3000, 40, 30
	for name, opts := range map[string][]bus.SubscribeOption{
		"commits gathered": {bus.CommitInterval(5 * time.Millisecond)},
		"commits at once":  {bus.CommitInterval(0)},
		"reused":           {bus.CommitInterval(5 * time.Millisecond), delivery.Reuse()},
		"unordered":        {bus.Unordered()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, log := onMemory(t)
			require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "dead", Partitions: 1}))
			var all []string
			for i := range count {
				all = append(all, fmt.Sprint(i%keys))
			}
			publish(t, b, all...)
			results := &tally{}
			var mu sync.Mutex
			last := map[string]int64{} // by key: the offset of the last acknowledged message
			var current, most, acked atomic.Int64
			done := make(chan struct{})
			var others sync.WaitGroup
			opts := append([]bus.SubscribeOption{bus.OrderByKey(), bus.Group("g"), bus.Window(64), bus.InFlight(inFlight),
				bus.Backoff(time.Microsecond, 50*time.Microsecond), bus.DeadLetterTopic("dead"), delivery.WithHooks(results)}, opts...)
			handler := func(_ context.Context, it *delivery.Item) error {
				d := it.Delivery()
				if n := current.Add(1); n > most.Load() {
					most.Store(n)
				}
				answer, offset, key := random(d.Attempt), d.Record.Offset, string(d.Record.Key)
				end := func() {
					mu.Lock()
					if before, ok := last[key]; name != "unordered" && ok && before >= offset && d.Attempt == 1 {
						t.Errorf("key %s: offset %d was handled after offset %d", key, offset, before)
					}
					switch a, _ := delivery.AnswerOf(answer); a {
					case delivery.Ack, delivery.Drop, delivery.DeadLetter:
						last[key] = offset
						if acked.Add(1) == count {
							close(done)
						}
					}
					mu.Unlock()
					current.Add(-1)
				}
				switch rand.IntN(3) {
				case 0:
					end()
					return answer
				case 1:
					end()
					it.Settle(answer)
				default:
					others.Go(func() {
						for range rand.IntN(50) { // let other goroutines run first
							runtime.Gosched()
						}
						end()
						it.Settle(answer)
					})
				}
				return delivery.ErrLater
			}
			sub, err := b.Consume(t.Context(), "t", nil, append(opts, delivery.SettleLater(handler))...)
			require.NoError(t, err)
			<-done
			require.NoError(t, sub.Shutdown(t.Context()))
			others.Wait()
			require.LessOrEqual(t, most.Load(), int64(inFlight))
			next, _, _ := log.Committed("g", "t", 0)
			require.EqualValues(t, count, next)
			require.EqualValues(t, count, results.good.Load(), "each message has one final outcome")
			require.Zero(t, results.later.Load())
			require.NoError(t, b.Close())
		})
	}
}

// random returns a random result of a handler; nil after the fourth attempt.
func random(attempt int) error {
	switch n := rand.IntN(20); {
	case attempt > 4 || n > 6:
		return nil
	case n > 4:
		return bus.RetryAfter(0, errors.New("soon"))
	case n > 2:
		return errors.New("again")
	case n > 1:
		return bus.DeadLetter(errors.New("hopeless"))
	default:
		return bus.Drop(errors.New("not needed"))
	}
}

// tally counts the results of deliveries.
type tally struct{ good, later atomic.Int64 }

func (o *tally) OnDelivery(e hook.DeliveryEvent) {
	if errors.Is(e.Err, delivery.ErrLater) {
		o.later.Add(1)
	}
	switch a, _ := delivery.AnswerOf(e.Err); a {
	case delivery.Ack, delivery.Drop, delivery.DeadLetter:
		o.good.Add(1)
	}
}

// A deferred item counts as being handled: a drain waits for it, and the next message of its key
// waits, too.
func TestShutdownWaitsForDeferredItems(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]error{"acknowledged": nil, "failed": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, log := onMemory(t)
				publish(t, b, "a", "a", "b")
				handled := make(chan *delivery.Item, 3)
				sub, err := b.Consume(t.Context(), "t", nil, bus.Group("g"), bus.OrderByKey(), delivery.SettleLater(deferTo(handled)))
				require.NoError(t, err)
				synctest.Wait()
				require.Len(t, handled, 2, "one message of each key")
				closed := make(chan error)
				go func() { closed <- sub.Shutdown(t.Context()) }()
				synctest.Wait()
				select {
				case <-closed:
					t.Fatal("Shutdown returned before the items were settled")
				default:
				}
				for range 2 {
					if it := <-handled; string(it.Delivery().Key) == "a" {
						it.Settle(outcome)
					} else {
						it.Settle(nil)
					}
					synctest.Wait()
				}
				require.NoError(t, <-closed)
				require.Empty(t, handled, "no handler is called during a drain")
				next, _, _ := log.Committed("g", "t", 0)
				require.Equal(t, map[string]int64{"acknowledged": 1, "failed": 0}[name], next)
				require.NoError(t, b.Close())
			})
		})
	}
}

// A revoked partition is released when all of its items are settled, after the last commit.
func TestRevokeWaitsForDeferredItems(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 3, func(i int) string { return fmt.Sprint(i) })...)
		b := s.bus(t)
		handled := make(chan *delivery.Item, 3)
		sub := consume(t, s, b, p, nil, bus.Group("g"), bus.OrderByKey(), bus.CommitInterval(time.Hour), delivery.SettleLater(deferTo(handled)))
		synctest.Wait()
		require.Len(t, handled, 3)
		p.revoke(&bus.Error{Code: bus.CodeRevoked, Op: "consume", Topic: "t"})
		for range 3 {
			synctest.Wait()
			select {
			case <-p.released:
				t.Fatal("the partition was released before every item was settled")
			default:
			}
			it := <-handled
			require.Error(t, it.Delivery().Context.Err(), "the context of the item has ended")
			if it.Delivery().Offset == 2 {
				it.Settle(errors.New("not this one"))
			} else {
				it.Settle(nil)
			}
		}
		<-p.released
		require.Equal(t, []int64{2}, p.committed())
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}

func TestStopSettledLaterEndsTheSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := onMemory(t)
		publish(t, b, "a")
		stop := errors.New("enough")
		sub, err := b.Consume(t.Context(), "t", nil, bus.Group("g"), bus.Unordered(), delivery.SettleLater(func(_ context.Context, it *delivery.Item) error {
			go func() { time.Sleep(time.Second); it.Settle(bus.Stop(stop)) }()
			return delivery.ErrLater
		}))
		require.NoError(t, err)
		<-sub.Done()
		require.ErrorIs(t, sub.Err(), stop)
		require.NoError(t, b.Close())
	})
}

// deferTo returns a handler that sends its items to c and returns ErrLater.
func deferTo(c chan<- *delivery.Item) delivery.ItemHandler {
	return func(_ context.Context, it *delivery.Item) error { c <- it; return delivery.ErrLater }
}

func TestErrLaterWithoutSettleLaterIsAnOrdinaryError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := onMemory(t)
		publish(t, b, "a")
		var attempts atomic.Int64
		sub, err := b.Consume(t.Context(), "t", func(_ context.Context, d *bus.Delivery) error {
			if attempts.Add(1) == 1 {
				return delivery.ErrLater
			}
			return nil
		}, bus.Group("g"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.EqualValues(t, 2, attempts.Load())
		require.NoError(t, sub.Shutdown(t.Context()))
		later := delivery.SettleLater(func(context.Context, *delivery.Item) error { return nil })
		for _, opts := range [][]bus.SubscribeOption{{bus.OrderByPartition()}, {bus.Unordered(), bus.AtMostOnce()}} {
			_, err := b.Consume(t.Context(), "t", nil, append(opts, bus.Group("g"), later)...)
			require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
		}
		_, err = b.ConsumeBatches(t.Context(), "t", func(context.Context, []*bus.Delivery) error { return nil }, bus.Group("g"), later)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
		require.NoError(t, b.Close())
	})
}
