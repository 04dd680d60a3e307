package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestOptionThatTheTransportLacksIsUnsupported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lack func(*driver.Capabilities)
		opt  bus.SubscribeOption
	}{
		"group":              {func(c *driver.Capabilities) { c.Groups = false }, bus.Group("g")},
		"partitions":         {func(c *driver.Capabilities) { c.Partitions = false }, bus.OnlyPartitions(1)},
		"order by partition": {func(c *driver.Capabilities) { c.Ordered = false }, bus.OrderByPartition()},
		"order by key":       {func(c *driver.Capabilities) { c.Ordered = false }, bus.OrderByKey()},
		"keys":               {func(c *driver.Capabilities) { c.Keys = false }, bus.OrderByKey()},
		"oldest":             {func(c *driver.Capabilities) { c.Replay = false }, bus.FromOldest()},
		"offset":             {func(c *driver.Capabilities) { c.Replay = false }, bus.FromOffset(3)},
		"time":               {func(c *driver.Capabilities) { c.Replay = false }, bus.FromTime(time.Unix(0, 0))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nop := func(context.Context, *bus.Delivery) error { return nil }
			full := newScript()
			b := full.bus(t)
			sub, err := b.Consume(t.Context(), "t", nop, c.opt)
			require.NoError(t, err, "with the capability the option is accepted")
			require.NoError(t, sub.Shutdown(t.Context()))
			require.NoError(t, b.Close())

			lacking := newScript()
			c.lack(&lacking.caps)
			b = lacking.bus(t)
			_, err = b.Consume(t.Context(), "t", nop, c.opt)
			require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err), "%v", err)
			require.NoError(t, b.Close())
			_, err = bus.New(lacking, bus.WithSubscribeDefaults(c.opt))
			require.Equal(t, bus.CodeUnsupported, bus.CodeOf(err), "New returns the error of a default option")
		})
	}
}

func TestInvalidOptionsReturnAnError(t *testing.T) {
	t.Parallel()
	b := newScript().bus(t)
	nop := func(context.Context, *bus.Delivery) error { return nil }
	for name, o := range map[string]bus.SubscribeOption{
		"group": bus.Group(""), "window": bus.Window(0), "ahead": bus.WindowAhead(0), "concurrency": bus.Concurrency(-1),
		"backoff": bus.Backoff(2, 1), "interval": bus.CommitInterval(-1), "dead letter": bus.DeadLetterTopic(""),
		"partitions": bus.OnlyPartitions(), "partition": bus.OnlyPartitions(-1),
	} {
		_, err := b.Consume(t.Context(), "t", nop, o)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), name)
	}
	_, err := b.Consume(t.Context(), "t", nop, bus.Group("g"), bus.OnlyPartitions(1))
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
	_, err = b.Consume(t.Context(), "t", nil)
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
	_, err = b.Consume(t.Context(), "", nop)
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
	require.NoError(t, b.Close())
	for name, o := range map[string]bus.Option{
		"logger": bus.WithLogger(nil), "hook": bus.WithHooks(struct{}{}), "delivery": bus.WithDeliveryTimeout(0),
		"close": bus.WithCloseTimeout(0), "size": bus.WithMaxMessageBytes(0),
	} {
		_, err := bus.New(newScript(), o)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), name)
	}
	_, err = bus.New(nil)
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
}

func TestDeliveryMessageHasPayloadHeadersAndKey(t *testing.T) {
	t.Parallel()
	transport, err := memory.New()
	require.NoError(t, err)
	b, err := bus.New(transport, bus.WithCreateTopics(bus.TopicSpec{Partitions: 1}))
	require.NoError(t, err)
	got := make(chan *bus.Delivery, 1)
	sub, err := b.Consume(t.Context(), "t", func(_ context.Context, d *bus.Delivery) error { got <- d; return nil })
	require.NoError(t, err)
	require.NoError(t, sub.Ready(t.Context()))
	sent := message.NewMessage("id", []byte("payload"))
	sent.Metadata.Set("color", "blue")
	bus.SetKey(sent, "ada")
	require.NoError(t, b.Publish("t", sent))
	d := <-got
	require.Contains(t, d.Headers, bus.Header{Key: "color", Value: "blue"})
	m := d.Message()
	require.Equal(t, []string{"id", "payload", "blue", "ada"}, []string{m.UUID, string(m.Payload), m.Metadata.Get("color"), bus.KeyOf(m)})
	require.Equal(t, d.Context, m.Context())
	m.Metadata.Set("color", "red")
	require.Equal(t, "blue", d.Message().Metadata.Get("color"), "each call returns a new message")
	require.NoError(t, b.Close())
}

// With Reuse, a delivery is reused only after its handler returned, and the payloads that handlers
// may keep do not change. Without Reuse, a delivery is never reused.
func TestReuseKeepsDeliveriesUntilTheirHandlersReturn(t *testing.T) {
	t.Parallel()
	const count, keys = 4000, 13
	for name, tc := range map[string]struct {
		opts  []bus.SubscribeOption
		reuse bool
	}{
		"no reuse":     {[]bus.SubscribeOption{bus.OrderByKey()}, false},
		"by key":       {[]bus.SubscribeOption{bus.OrderByKey(), delivery.Reuse()}, true},
		"by partition": {[]bus.SubscribeOption{bus.OrderByPartition(), delivery.Reuse()}, true},
		"unordered":    {[]bus.SubscribeOption{bus.Unordered(), delivery.Reuse()}, true},
		"at most once": {[]bus.SubscribeOption{bus.OrderByKey(), delivery.Reuse(), bus.AtMostOnce()}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := onMemory(t)
			var all []string
			for i := range count {
				all = append(all, fmt.Sprint(i%keys))
			}
			publish(t, b, all...) // the payload of each message is its offset
			var mu sync.Mutex
			deliveries := map[*bus.Record]*bus.Delivery{}
			payloads := map[int64][]byte{}
			done := make(chan struct{})
			opts := append(tc.opts, bus.Group("g"), bus.FromOldest(), bus.Window(8), bus.Backoff(time.Microsecond, time.Microsecond))
			_, err := b.Consume(t.Context(), "t", func(_ context.Context, d *bus.Delivery) error {
				offset := d.Record.Offset
				for range 3 { // other handlers run in between
					if want := fmt.Sprint(offset); offset != d.Record.Offset || want != string(d.Payload) || want != d.UUID || want != string(d.Record.Payload) {
						t.Errorf("record %d became %d with payload %s and UUID %s", offset, d.Record.Offset, d.Payload, d.UUID)
					}
					runtime.Gosched()
				}
				if name != "at most once" && offset%7 == 0 && d.Attempt == 1 {
					return errors.New("again")
				}
				mu.Lock()
				defer mu.Unlock()
				deliveries[d.Record] = d
				payloads[offset] = d.Payload
				if len(payloads) == count {
					close(done)
				}
				return nil
			}, opts...)
			require.NoError(t, err)
			<-done
			mu.Lock()
			defer mu.Unlock()
			if tc.reuse {
				require.Less(t, len(deliveries), count/2)
			} else {
				require.Len(t, deliveries, count)
			}
			for offset, p := range payloads {
				require.Equal(t, fmt.Sprint(offset), string(p))
			}
		})
	}
}
