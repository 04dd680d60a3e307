package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

var (
	_ hook.PublishTracer  = (*tracer)(nil)
	_ hook.DeliveryTracer = (*tracer)(nil)
)

type tracerKey struct{}

// tracer adds a header to published messages, and a value to the context of handlers.
type tracer struct {
	journal
}

func (tr *tracer) StartPublish(_ context.Context, transport, topic string, m *message.Message) (map[string]string, func(bus.Outcome)) {
	tr.add("publish %s %s %s", transport, topic, m.Payload)
	return map[string]string{"trace": "1-" + string(m.Payload)}, func(o bus.Outcome) { tr.add("published %d %v", o.Offset, o.Err) }
}

func (tr *tracer) StartDelivery(ctx context.Context, d hook.DeliveryStart) (context.Context, func(error)) {
	tr.add("deliver %s %d", d.Group, d.Record.Offset)
	return context.WithValue(ctx, tracerKey{}, "in"), func(err error) { tr.add("delivered %v", err) }
}

func TestTracersAreCalledBeforeAndAfterPublishAndDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newScript(), newScriptPartition(records(0, 1, nil)...)
		var sent []driver.Outgoing
		s.publish = func(batch []driver.Outgoing) {
			for i := range batch {
				sent = append(sent, kept(batch[i:i+1])...)
				batch[i].Complete(driver.Outcome{Offset: 5})
			}
		}
		tr := &tracer{}
		b := s.bus(t, bus.WithHooks(tr))
		m := msg("a")
		require.NoError(t, b.Publish("t", m))
		require.Equal(t, "1-a", header(&sent[0], "trace"))
		require.Empty(t, m.Metadata.Get("trace"), "the caller's message is not changed")
		b.PublishAsync(t.Context(), "t", msg("b"), func(bus.Outcome) { tr.add("reported") })
		require.Error(t, b.Publish("t", nil), "a message that is not passed to the transport is not traced")
		bad := errors.New("bad")
		sub := consume(t, s, b, p, func(ctx context.Context, d *bus.Delivery) error {
			assert.Equal(t, "in", ctx.Value(tracerKey{}))
			assert.Equal(t, "in", d.Context.Value(tracerKey{}))
			return bus.Drop(bad)
		}, bus.Group("g"))
		synctest.Wait()
		require.Equal(t, []string{"publish script t a", "published 5 <nil>", "publish script t b", "published 5 <nil>", "reported",
			"deliver g 0", "delivered drop: bad"}, tr.all())
		require.NoError(t, sub.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	})
}
