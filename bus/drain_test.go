package bus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/memory"
)

func onMemory(t *testing.T) (*bus.Bus, *memory.Log) {
	tr, err := memory.New()
	require.NoError(t, err)
	b, err := bus.New(tr)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "t", Partitions: 1}))
	return b, tr.Log()
}

func publish(t *testing.T, b *bus.Bus, keys ...string) {
	for i, k := range keys {
		m := message.NewMessage(fmt.Sprint(i), []byte(fmt.Sprint(i)))
		bus.SetKey(m, k)
		require.NoError(t, b.Publish("t", m))
	}
}

// With DrainFetched a shutdown delivers the records in the window if there is a group, and
// everything that was fetched if there is none.
func TestDrainFetchedDeliversTheWindow(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opts []bus.SubscribeOption
		want int64
	}{
		"no option":     {[]bus.SubscribeOption{bus.Group("g"), bus.Window(3)}, 1},
		"group":         {[]bus.SubscribeOption{bus.Group("g"), bus.Window(3), delivery.DrainFetched()}, 3},
		"without group": {[]bus.SubscribeOption{bus.FromOldest(), bus.Window(3), delivery.DrainFetched()}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, log := onMemory(t)
				publish(t, b, "a", "a", "a", "a", "a", "a") // one key: one handler runs, the others wait
				var handled atomic.Int64
				release := make(chan struct{})
				sub, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error {
					<-release
					handled.Add(1)
					return nil
				}, append(tc.opts, bus.OrderByKey())...)
				require.NoError(t, err)
				synctest.Wait()
				closed := make(chan error, 1)
				go func() { closed <- sub.Shutdown(context.Background()) }()
				synctest.Wait()
				close(release)
				require.NoError(t, <-closed)
				require.Equal(t, tc.want, handled.Load())
				if name == "group" {
					next, _, ok := log.Committed("g", "t", 0)
					require.True(t, ok)
					require.EqualValues(t, 3, next, "other members get the rest")
				}
			})
		})
	}
}

// Each message is committed before its handler begins and delivered once, even if the handler
// fails. The window bounds the handlers that run, and each key is in order.
func TestAtMostOnceCommitsBeforeTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, log := onMemory(t)
		publish(t, b, "a", "b", "a", "c", "b", "d")
		var mu sync.Mutex
		var order []string
		running := 0
		release := make(chan struct{})
		sub, err := b.Consume(t.Context(), "t", func(_ context.Context, d *bus.Delivery) error {
			next, _, ok := log.Committed("g", "t", 0)
			mu.Lock()
			defer mu.Unlock()
			if !ok || next <= d.Record.Offset {
				t.Errorf("offset %d is handled, but the committed offset is %d", d.Record.Offset, next)
			}
			order = append(order, string(d.Payload))
			running++
			mu.Unlock()
			<-release
			mu.Lock()
			return fmt.Errorf("fails")
		}, bus.Group("g"), bus.OrderByKey(), bus.Window(2), bus.AtMostOnce())
		require.NoError(t, err)
		synctest.Wait()
		mu.Lock()
		require.Equal(t, 2, running, "the window bounds the handlers that run")
		mu.Unlock()
		close(release)
		time.Sleep(time.Minute) // long enough for a second delivery
		require.NoError(t, sub.Shutdown(t.Context()))
		require.ElementsMatch(t, []string{"0", "1", "2", "3", "4", "5"}, order)
		next, _, _ := log.Committed("g", "t", 0)
		require.EqualValues(t, 6, next)
	})
}

func TestAtMostOnceIsNotHandledWithoutItsCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, log := onMemory(t)
		entered, release := make(chan struct{}), make(chan struct{})
		var handled atomic.Int64
		sub, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error {
			if handled.Add(1) == 1 {
				close(entered)
				<-release
			}
			return nil
		}, bus.Group("g"), bus.OrderByKey(), bus.AtMostOnce())
		require.NoError(t, err)
		publish(t, b, "a")
		<-entered
		require.NoError(t, log.ExpireMembers("g", "t"), "the claim is lost; the handler still runs")
		publish(t, b, "a")
		close(release)
		synctest.Wait()
		require.EqualValues(t, 2, handled.Load(), "each message is handled once, by the claim that committed it")
		require.NoError(t, sub.Shutdown(t.Context()))
	})
}

func TestListeningReportsWhetherATopicHasASubscription(t *testing.T) {
	t.Parallel()
	b, log := onMemory(t)
	channels, err := gochannel.New()
	require.NoError(t, err)
	chans, err := bus.New(channels)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, chans.Close()) })
	for _, b := range []*bus.Bus{b, chans} {
		listening, err := seam.Of(b).Listening("t")
		require.NoError(t, err)
		require.False(t, listening)
		sub, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { return nil })
		require.NoError(t, err)
		require.NoError(t, sub.Ready(t.Context()))
		listening, err = seam.Of(b).Listening("t")
		require.NoError(t, err)
		require.True(t, listening)
		if b.Capabilities().Topics {
			log.Disconnect(nil)
			listening, err = seam.Of(b).Listening("t")
			require.NoError(t, err)
			require.True(t, listening, "a subscription that has lost its connection for a moment counts")
			log.Connect()
			_, err = seam.Of(b).Listening("none")
			require.Equal(t, bus.CodeNotFound, bus.CodeOf(err))
		}
		require.NoError(t, sub.Shutdown(t.Context()))
		listening, err = seam.Of(b).Listening("t")
		require.NoError(t, err)
		require.False(t, listening)
	}
	_, err = seam.Of(newScript().bus(t)).Listening("t")
	require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err))
}

// pausing is a transport that pauses before each fetch, as on a busy machine.
type pausing struct{ driver.Transport }

type pausingSession struct{ driver.Session }

type pausingPartition struct{ driver.Partition }

func (p pausing) Subscribe(ctx context.Context, s driver.Subscription) (driver.Session, error) {
	session, err := p.Transport.Subscribe(ctx, s)
	return pausingSession{session}, err
}

func (s pausingSession) Next(ctx context.Context) (driver.Event, error) {
	e, err := s.Session.Next(ctx)
	for i, p := range e.Added {
		e.Added[i] = pausingPartition{p}
	}
	return e, err
}

func (p pausingPartition) Fetch(ctx context.Context) ([]driver.Record, error) {
	time.Sleep(30 * time.Millisecond) // longer than the pause of a drain
	return p.Partition.Fetch(ctx)
}

// On a transport without redelivery a shutdown delivers everything that is buffered, even on a slow
// machine, and even if it is more than one Fetch returns.
func TestDrainFetchedDeliversEverythingThatWasFetched(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		messages int
		pauses   bool
	}{"some": {3, false}, "a busy machine": {3, true}, "more than a fetch": {900, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tr driver.Transport
				tr, err := gochannel.New()
				require.NoError(t, err)
				if tc.pauses {
					tr = pausing{tr}
				}
				b, err := bus.New(tr)
				require.NoError(t, err)
				var handled atomic.Int64
				begun, release := make(chan struct{}, 2*tc.messages), make(chan struct{})
				sub, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error {
					begun <- struct{}{}
					<-release
					handled.Add(1)
					return nil
				}, bus.OrderByPartition(), delivery.DrainFetched())
				require.NoError(t, err)
				publish(t, b, "")
				<-begun
				publish(t, b, make([]string, tc.messages)...)
				closed := make(chan error, 1)
				go func() { closed <- sub.Shutdown(context.Background()) }()
				synctest.Wait()
				close(release)
				require.NoError(t, <-closed)
				require.EqualValues(t, 1+tc.messages, handled.Load())
				require.NoError(t, b.Close())
			})
		})
	}
}
