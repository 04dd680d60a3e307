package bus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
)

var errUnavailable = &bus.Error{Code: bus.CodeUnavailable, Op: "commit"}

func TestLastCommitIsRepeatedAfterATemporaryError(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		errs []error
		want []int64
		took time.Duration // at least
	}{
		"unavailable twice": {[]error{errUnavailable, errUnavailable}, []int64{1}, 75 * time.Millisecond},
		"not permitted":     {[]error{&bus.Error{Code: bus.CodePermissionDenied, Op: "commit"}}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
				p.commitErrs = tc.errs
				b := s.bus(t)
				sub := consume(t, s, b, p, func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"), bus.CommitInterval(time.Hour))
				synctest.Wait()
				begun := time.Now()
				require.NoError(t, sub.Shutdown(t.Context()))
				require.Equal(t, tc.want, p.committed())
				require.GreaterOrEqual(t, time.Since(begun), tc.took)
				require.NoError(t, b.Close())
			})
		})
	}
}

func TestCommitAtOnceIsRepeatedAfterATemporaryError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		p.commitErrs = []error{errUnavailable}
		b := s.bus(t)
		consume(t, s, b, p, func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"), bus.CommitInterval(0))
		synctest.Wait()
		require.Empty(t, p.committed())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int64{1}, p.committed())
		require.NoError(t, b.Close())
	})
}

func TestAtMostOnceRepeatsTheCommitBeforeTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		p.commitErrs = []error{errUnavailable, errUnavailable}
		b := s.bus(t)
		var handled atomic.Int64
		consume(t, s, b, p, func(context.Context, *bus.Delivery) error {
			handled.Add(1)
			assert.Equal(t, []int64{1}, p.committed(), "the handler begins after the commit")
			return errors.New("no second attempt")
		}, bus.Group("g"), bus.AtMostOnce())
		synctest.Wait()
		require.Zero(t, handled.Load())
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, handled.Load())
		require.NoError(t, b.Close())
	})
}

func TestAtMostOnceDeadLetterIsPublishedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		var letters atomic.Int64
		s.publish = func(batch []driver.Outgoing) {
			for i := range batch {
				letters.Add(1)
				batch[i].Complete(driver.Failed(errUnavailable))
			}
		}
		b := s.bus(t)
		var handled atomic.Int64
		consume(t, s, b, p, func(context.Context, *bus.Delivery) error {
			handled.Add(1)
			return bus.DeadLetter(errors.New("bad"))
		}, bus.Group("g"), bus.AtMostOnce(), bus.DeadLetterTopic("dead"))
		time.Sleep(time.Minute)
		require.Equal(t, []int64{1, 1}, []int64{handled.Load(), letters.Load()})
		require.NoError(t, b.Close())
	})
}

// A transport whose Fetch fails reports the reason through its session. Until then the claim
// keeps the partition, because after a release another member could begin.
func TestPartitionWhoseFetchFailedIsKeptUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition()
		p.fetchErr = errUnavailable
		b := s.bus(t)
		consume(t, s, b, p, func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"))
		time.Sleep(time.Minute)
		select {
		case <-p.released:
			t.Error("the partition was released while it is assigned")
		default:
		}
		p.revoke(&bus.Error{Code: bus.CodeRevoked, Op: "consume"})
		<-p.released
		require.NoError(t, b.Close())
	})
}

// endless is a partition that always has more records.
type endless struct {
	*scriptPartition
	next atomic.Int64
}

func (p *endless) Fetch(ctx context.Context) ([]driver.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	const n = 512
	return records(int(p.next.Add(n)-n), n, nil), nil
}

func TestDrainOfAnEndlessPartitionEnds(t *testing.T) {
	t.Parallel()
	s, p := newScript(), &endless{scriptPartition: newScriptPartition()}
	s.caps.Redelivery = false
	b := s.bus(t)
	var handled atomic.Int64
	sub, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { handled.Add(1); return nil },
		delivery.DrainFetched(), bus.Unordered(), bus.CommitInterval(time.Hour))
	require.NoError(t, err)
	s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
	require.NoError(t, sub.Ready(t.Context()))
	before := handled.Load()
	require.NoError(t, sub.Shutdown(t.Context()))
	require.Less(t, handled.Load()-before, int64(1<<20), "a drain takes a bounded number of records")
	require.NoError(t, b.Close())
}

func TestBackOffAfterAnErrorThatIsSettledLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		b := s.bus(t)
		items := make(chan *delivery.Item, 1)
		consume(t, s, b, p, nil, bus.Group("g"), bus.Unordered(), bus.Backoff(10*time.Second, 20*time.Second), delivery.SettleLater(deferTo(items)))
		(<-items).Settle(errors.New("no"))
		begun := time.Now()
		it := <-items
		require.Equal(t, 2, it.Delivery().Attempt)
		require.GreaterOrEqual(t, time.Since(begun), 5*time.Second)
		it.Settle(errors.New("no"))
		begun = time.Now()
		it = <-items
		require.GreaterOrEqual(t, time.Since(begun), 10*time.Second, "the back-off doubles")
		it.Settle(nil)
		synctest.Wait()
		require.NoError(t, b.Close())
		require.Equal(t, []int64{1}, p.committed())
	})
}

func TestDefaultStartDependsOnGroupAndReplay(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		replay bool
		opts   []bus.SubscribeOption
		want   driver.StartKind
	}{
		"group":                          {true, []bus.SubscribeOption{bus.Group("g")}, driver.StartOldest},
		"no group":                       {true, nil, driver.StartNewest},
		"group without replay":           {false, []bus.SubscribeOption{bus.Group("g")}, driver.StartNewest},
		"newest is always supported":     {false, []bus.SubscribeOption{bus.FromNewest()}, driver.StartNewest},
		"an option replaces the default": {true, []bus.SubscribeOption{bus.Group("g"), bus.FromNewest()}, driver.StartNewest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript()
			s.caps.Replay = tc.replay
			var got driver.Subscription
			s.subscribe = func(sub driver.Subscription) (driver.Session, error) { got = sub; return s.session, nil }
			b := s.bus(t)
			_, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil }, tc.opts...)
			require.NoError(t, err)
			require.Equal(t, tc.want, got.Start.Kind)
			require.NoError(t, b.Close())
		})
	}
}

func TestDeliveryEventHasTheDurationOfTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		seen := &deliveries{}
		b := s.bus(t, bus.WithHooks(seen))
		consume(t, s, b, p, func(context.Context, *bus.Delivery) error { time.Sleep(3 * time.Second); return nil }, bus.Group("g"))
		time.Sleep(time.Minute)
		require.NoError(t, b.Close())
		require.Len(t, seen.events, 1)
		require.Equal(t, 3*time.Second, seen.events[0].Duration)
	})
}

func TestHandlerIsNotCalledWhenItsCommitIsNotPermitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		p.commitErr = &bus.Error{Code: bus.CodePermissionDenied, Op: "commit"}
		b := s.bus(t)
		var handled atomic.Int64
		consume(t, s, b, p, func(context.Context, *bus.Delivery) error { handled.Add(1); return nil }, bus.Group("g"), bus.AtMostOnce())
		time.Sleep(time.Minute)
		require.Zero(t, handled.Load())
		require.NoError(t, b.Close())
	})
}

func TestShutdownOfAClosedBusReturnsItsResultEvenIfTheContextHasEnded(t *testing.T) {
	t.Parallel()
	b := newScript().bus(t)
	require.NoError(t, b.Close())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		require.NoError(t, b.Shutdown(ended))
	}
}
