package bus_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestLagCountsWhatIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport, err := memory.New()
		require.NoError(t, err)
		b, err := bus.New(transport)
		require.NoError(t, err)
		require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "orders", Partitions: 1}))
		publish := func(n int) {
			for i := range n {
				require.NoError(t, b.Publish("orders", message.NewMessage(fmt.Sprint(i), nil)))
			}
		}
		publish(3)
		handle := make(chan struct{})
		sub, err := b.Consume(t.Context(), "orders", func(ctx context.Context, _ *bus.Delivery) error {
			select {
			case <-handle:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, bus.Group("billing"), bus.OrderByPartition())
		require.NoError(t, err)
		require.NoError(t, sub.Ready(t.Context()))
		synctest.Wait()
		require.Equal(t, []bus.PartitionLag{{Partition: 0, Position: 0, End: 3, Records: 3}}, sub.Lag(), "the message of a running handler is not acknowledged")
		for done := range int64(3) {
			handle <- struct{}{}
			synctest.Wait()
			require.Equal(t, []bus.PartitionLag{{Partition: 0, Position: done + 1, End: 3, Records: 2 - done}}, sub.Lag())
		}
		publish(2)
		synctest.Wait()
		require.EqualValues(t, 2, sub.Lag()[0].Records)
		close(handle)
		require.NoError(t, b.Close())
		require.Empty(t, sub.Lag(), "a subscription that ended has no partitions")
	})
}

func TestLagIsEmptyIfTheTransportDoesNotSupportIt(t *testing.T) {
	t.Parallel()
	transport, err := gochannel.New()
	require.NoError(t, err)
	b, err := bus.New(transport)
	require.NoError(t, err)
	sub, err := b.Consume(t.Context(), "orders", func(context.Context, *bus.Delivery) error { return nil })
	require.NoError(t, err)
	require.NoError(t, sub.Ready(t.Context()))
	require.Empty(t, sub.Lag())
	require.NoError(t, b.Close())
}

// taking is a partition whose Fetch blocks after it has taken the records, until the test continues
// it.
type taking struct {
	*scriptPartition
	next       atomic.Int64
	took, give chan struct{}
}

func (p *taking) Extent() (next, end int64, known bool) { return p.next.Load(), 3, true }

func (p *taking) Fetch(ctx context.Context) ([]driver.Record, error) {
	recs, err := p.scriptPartition.Fetch(ctx)
	if err == nil {
		p.next.Store(recs[len(recs)-1].Offset + 1)
		p.took <- struct{}{}
		<-p.give
	}
	return recs, err
}

// The lag includes records that Fetch has taken but not returned yet.
func TestLagIncludesRecordsThatAreBeingFetched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		p := &taking{scriptPartition: newScriptPartition(records(0, 2, nil)...), took: make(chan struct{}), give: make(chan struct{})}
		b := s.bus(t)
		sub, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"))
		require.NoError(t, err)
		s.session.events <- driver.Event{Assigned: true, Added: []driver.Partition{p}}
		<-p.took
		require.Equal(t, []bus.PartitionLag{{Position: 0, End: 3, Records: 3}}, sub.Lag())
		p.give <- struct{}{}
		synctest.Wait()
		require.Equal(t, []bus.PartitionLag{{Position: 2, End: 3, Records: 1}}, sub.Lag())
		p.records <- records(2, 1, nil)
		<-p.took
		require.Equal(t, []bus.PartitionLag{{Position: 2, End: 3, Records: 1}}, sub.Lag())
		p.give <- struct{}{}
		synctest.Wait()
		require.Equal(t, []bus.PartitionLag{{Position: 3, End: 3}}, sub.Lag())
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}
