package bus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/transport/memory"
)

// lateHook records what it observes, one line for each event.
type lateHook struct {
	mu    sync.Mutex
	lines []string
}

func (h *lateHook) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *lateHook) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.lines
	h.lines = nil
	return lines
}

func (h *lateHook) OnPublish(e hook.PublishEvent) {
	h.note("published %s: %v", e.Message.UUID, e.Outcome.Err)
}
func (h *lateHook) OnDelivery(e hook.DeliveryEvent)  { h.note("delivered %s: %v", e.Record.UUID, e.Err) }
func (h *lateHook) OnCommit(e hook.CommitEvent)      { h.note("committed %d: %v", e.Next, e.Err) }
func (h *lateHook) OnConnection(c driver.Connection) { h.note("connection %s", c.State) }
func (h *lateHook) OnSession(e hook.SessionEvent) {
	h.note("session %s assigned %v ended %v", e.Subscription.Topic(), e.Assigned, e.Ended)
}

func TestAddedHookGetsTheStateAndLaterEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport, err := memory.New()
		require.NoError(t, err)
		b, err := bus.New(transport)
		require.NoError(t, err)
		require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "orders", Partitions: 1}))
		sub, err := b.Consume(t.Context(), "orders", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("billing"))
		require.NoError(t, err)
		require.NoError(t, sub.Ready(t.Context()))
		require.NoError(t, b.Publish("orders", message.NewMessage("before", nil)))
		synctest.Wait()

		one, two := &lateHook{}, &lateHook{}
		removeOne := seam.Of(b).AddHook(one)
		removeTwo := seam.Of(b).AddHook(two)
		present := []string{"connection connected", "session orders assigned true ended false"}
		require.Equal(t, present, one.take())
		require.Equal(t, present, two.take())

		require.NoError(t, b.Publish("orders", message.NewMessage("after", nil)))
		synctest.Wait()
		require.ElementsMatch(t, []string{"published after: <nil>", "delivered after: <nil>", "committed 2: <nil>"}, one.take())

		removeOne()
		removeOne()
		transport.Disconnect(nil)
		synctest.Wait()
		require.Empty(t, one.take())
		require.Contains(t, two.take(), "connection disconnected")
		transport.Connect()
		require.NoError(t, sub.Shutdown(t.Context()))
		require.Contains(t, two.take(), "session orders assigned false ended true")
		removeTwo()
		require.NoError(t, b.Publish("orders", message.NewMessage("unobserved", nil)))
		require.Empty(t, two.take())
		require.NoError(t, b.Close())
	})
}

func TestAddHookIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	transport, err := memory.New()
	require.NoError(t, err)
	b, err := bus.New(transport)
	require.NoError(t, err)
	require.NoError(t, b.EnsureTopic(t.Context(), bus.TopicSpec{Name: "orders", Partitions: 1}))
	var using sync.WaitGroup
	for range 4 {
		using.Go(func() {
			for range 200 {
				_ = b.Publish("orders", message.NewMessage("id", nil), message.NewMessage("id", nil))
				b.PublishRecord(t.Context(), &bus.Record{Topic: "orders", Partition: bus.AnyPartition}, func(bus.Outcome) {})
			}
		})
	}
	for range 200 {
		seam.Of(b).AddHook(&lateHook{})()
	}
	using.Wait()
	require.NoError(t, b.Close())
}
