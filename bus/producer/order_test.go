package producer

import (
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
	"github.com/trunkline/trunkline/transport/memory"
)

// The memory for the order of a key is freed when no message of the key is in flight or
// returned, also after messages were sent again.
func TestOrdersAreFreed(t *testing.T) {
	t.Parallel()
	transport, err := memory.New()
	require.NoError(t, err)
	faults, err := bustest.NewFaults(transport, 1, bustest.OnPublish("t", bustest.Every(3), bustest.Fail(bus.CodeUnavailable)))
	require.NoError(t, err)
	b, err := bus.New(faults)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	require.NoError(t, b.CreateTopic(t.Context(), bus.TopicSpec{Name: "t", Partitions: 1}))
	p, err := New(b, "t")
	require.NoError(t, err)
	for i := range 20 {
		m := message.NewMessage("id", nil)
		bus.SetKey(m, fmt.Sprint("key-", i))
		_, err := p.SendAsync(t.Context(), m)
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
	require.NotZero(t, p.Stats().Retried)
	require.Empty(t, p.orders)
}
