package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/bus/driver"
)

// When a subscription ends while a batch is being collected, the batch is handled if it can still
// be acknowledged.
func TestLastBatchIsHandled(t *testing.T) {
	t.Parallel()
	revoked := &bus.Error{Code: bus.CodeRevoked, Reason: "another member has it"}
	for name, tc := range map[string]struct {
		end       func(t *testing.T, sub *bus.Subscription, p *scriptPartition, cancel context.CancelFunc)
		handled   []string
		committed int64
	}{
		"close": {func(t *testing.T, sub *bus.Subscription, _ *scriptPartition, _ context.CancelFunc) {
			require.NoError(t, sub.Shutdown(t.Context()))
		}, []string{"[0 1 2]"}, 3},
		"revoke": {func(t *testing.T, _ *bus.Subscription, p *scriptPartition, _ context.CancelFunc) {
			p.revoke(revoked)
			<-p.released
		}, []string{"[0 1 2]"}, 3},
		"lost": {func(t *testing.T, _ *bus.Subscription, p *scriptPartition, _ context.CancelFunc) {
			p.revoke(errors.New("the session timed out"))
			<-p.released
		}, nil, -1},
		"cancel": {func(t *testing.T, sub *bus.Subscription, _ *scriptPartition, cancel context.CancelFunc) {
			cancel()
			<-sub.Done()
		}, nil, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, p := newScript(), newScriptPartition(records(0, 3, nil)...)
				b := s.bus(t)
				var j journal
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				sub, err := b.ConsumeBatches(ctx, "t", func(ctx context.Context, ds []*bus.Delivery) error {
					assert.NoError(t, ctx.Err(), "the handler has time for the last batch")
					j.add("%v", offsets(ds))
					return nil
				}, bus.Group("g"), bus.BatchSize(10), bus.BatchAge(time.Hour))
				require.NoError(t, err)
				s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
				synctest.Wait()
				require.Empty(t, j.all(), "the batch is not complete")
				tc.end(t, sub, p, cancel)
				require.Equal(t, tc.handled, j.all())
				require.Equal(t, tc.committed, p.last())
				require.NoError(t, b.Close())
			})
		})
	}
}

func TestLastBatchOfARevokedPartitionIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 3, nil)...)
		b := s.bus(t)
		consumeBatches(t, s, b, p, func(ctx context.Context, _ []*bus.Delivery) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, bus.Group("g"), bus.BatchSize(10), bus.BatchAge(time.Hour))
		synctest.Wait()
		begun := time.Now()
		p.revoke(&bus.Error{Code: bus.CodeRevoked})
		<-p.released
		require.Equal(t, 3*time.Second, time.Since(begun))
		require.EqualValues(t, -1, p.last())
		require.NoError(t, b.Close())
	})
}

func TestRevokeCancelsARunningBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 3, nil)...)
		b := s.bus(t)
		errTaken := &bus.Error{Code: bus.CodeRevoked, Reason: "taken"}
		var cause error
		consumeBatches(t, s, b, p, func(ctx context.Context, _ []*bus.Delivery) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return cause
		}, bus.Group("g"), bus.BatchSize(3))
		synctest.Wait()
		begun := time.Now()
		p.revoke(errTaken)
		<-p.released
		require.Zero(t, time.Since(begun))
		require.ErrorIs(t, cause, errTaken)
		require.NoError(t, b.Close())
	})
}

func TestUndecodableRecordEndsTheBatchBeforeIt(t *testing.T) {
	t.Parallel()
	undecodable := func() []driver.Record {
		recs := records(0, 6, nil)
		recs[0].DecodeErr = errors.New("not a message")
		recs[3].DecodeErr = errors.New("not a message")
		return recs
	}
	t.Run("with a dead-letter topic", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s, p := newScript(), newScriptPartition(undecodable()...)
			var dead counter
			s.publish = func(batch []driver.Outgoing) {
				for i := range batch {
					require.Equal(t, "undecodable", header(&batch[i], deadletter.CodeHeader))
					dead.add()
					batch[i].Complete(driver.Outcome{})
				}
			}
			b := s.bus(t)
			var j journal
			consumeBatches(t, s, b, p, func(_ context.Context, ds []*bus.Delivery) error {
				j.add("%v", offsets(ds))
				return nil
			}, bus.Group("g"), bus.BatchSize(3), bus.DeadLetterTopic("dead"))
			elapse(time.Minute)
			require.Equal(t, []string{"[1 2]", "[4 5]"}, j.all())
			require.Equal(t, 2, dead.count())
			require.EqualValues(t, 6, p.last())
			require.NoError(t, b.Close())
		})
	})
	t.Run("without a dead-letter topic", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s, p := newScript(), newScriptPartition()
			b := s.bus(t)
			var j journal
			sub := consumeBatches(t, s, b, p, func(_ context.Context, ds []*bus.Delivery) error {
				j.add("%v", offsets(ds))
				return nil
			}, bus.Group("g"), bus.BatchSize(3))
			p.records <- undecodable()[1:] // after Ready, because they end the subscription
			<-sub.Done()
			require.Equal(t, bus.CodeUndecodable, bus.CodeOf(sub.Err()))
			require.Equal(t, []string{"[1 2]"}, j.all(), "the records before it are handled")
			require.EqualValues(t, 3, p.last())
			require.NoError(t, b.Close())
		})
	})
}

func TestPanicOfABatchHandlerIsAnErrorOfTheBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 2, nil)...)
		b := s.bus(t)
		var calls counter
		consumeBatches(t, s, b, p, func(_ context.Context, ds []*bus.Delivery) error {
			calls.add()
			if ds[0].Attempt == 1 {
				panic("boom")
			}
			return nil
		}, bus.Group("g"), bus.BatchSize(2))
		elapse(time.Minute)
		require.Equal(t, 2, calls.count())
		require.EqualValues(t, 2, p.last())
		require.NoError(t, b.Close())
	})
}
