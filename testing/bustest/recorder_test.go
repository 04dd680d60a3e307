package bustest_test

import (
	"context"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/gochannel"
)

func TestRecorderIsAHookForAnyBus(t *testing.T) {
	t.Parallel()
	tr, err := gochannel.New()
	require.NoError(t, err)
	rec := bustest.NewRecorder()
	b, err := bus.New(tr, bus.WithHooks(rec))
	require.NoError(t, err)
	defer b.Close()
	got := make(chan struct{}, 1)
	s, err := b.Consume(t.Context(), "t", func(context.Context, *bus.Delivery) error { got <- struct{}{}; return nil })
	require.NoError(t, err)
	require.NoError(t, s.Ready(t.Context()))
	m := message.NewMessage("u", []byte("x"))
	m.Metadata.Set("a", "b")
	bus.SetKey(m, "k")
	require.NoError(t, b.Publish("t", m))
	require.NoError(t, b.Publish("other", message.NewMessage("v", nil)))
	m.Payload[0], m.Metadata["a"] = 'y', "c" // the recorder has a copy
	require.Error(t, b.Publish("t", nil))
	<-got
	require.NoError(t, s.Shutdown(t.Context()))

	published := rec.Published("t")
	require.Len(t, published, 1)
	require.Equal(t, "x", string(published[0].Payload))
	require.Equal(t, map[string]string{"a": "b"}, published[0].Headers)
	require.Equal(t, "k", published[0].Key)
	require.Len(t, rec.Published(""), 2)
	require.Len(t, rec.PublishFailures("t"), 1)
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(rec.PublishFailures("")[0].Err))
	deliveries := rec.Deliveries("t")
	require.Len(t, deliveries, 1)
	require.Equal(t, 1, deliveries[0].Count)
	require.Empty(t, rec.Deliveries("other"))
	rec.Reset()
	require.Empty(t, rec.Published(""))
	require.Empty(t, rec.Deliveries(""))
	require.Empty(t, rec.Commits(""))
}

func TestRecorderIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("t"), bustest.WithPartitions(4))
	k.Consume("t", func(context.Context, *bus.Delivery) error { return nil }, bus.Group("g"), bus.Unordered())
	var publishing sync.WaitGroup
	for range 4 {
		publishing.Go(func() {
			for range 50 {
				if err := k.Bus().Publish("t", message.NewMessage("u", nil)); err != nil {
					t.Error(err)
				}
				k.Recorder().Published("t")
				k.Recorder().Deliveries("t")
			}
		})
	}
	publishing.Wait()
	k.WaitIdle()
	require.Len(t, k.Recorder().Published("t"), 200)
	require.Len(t, k.Recorder().Deliveries("t"), 200)
}
