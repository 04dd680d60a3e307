package memory_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestCheckReportsConnectionAndTopics(t *testing.T) {
	t.Parallel()
	tr, err := memory.New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close(context.Background())) })
	require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "orders", Partitions: 2}))

	h := tr.Check(t.Context(), driver.CheckSpec{Topics: []string{"orders"}, MinBrokers: 2, MinInSync: 2})
	require.NoError(t, h.Err)
	require.Empty(t, h.Warning)
	require.Len(t, h.Topics[0].Partitions, 2)

	h = tr.Check(t.Context(), driver.CheckSpec{Topics: []string{"orders", "bills"}})
	require.EqualError(t, h.Err, `memory: check: topic "bills": it does not exist (unavailable)`)
	require.NoError(t, h.Topics[0].Err)
	require.EqualError(t, h.Topics[1].Err, "it does not exist")

	tr.Disconnect(errors.New("cable unplugged"))
	h = tr.Check(t.Context(), driver.CheckSpec{Topics: []string{"orders"}})
	require.ErrorContains(t, h.Err, "cable unplugged")
	require.Error(t, h.Topics[0].Err)
	tr.Connect()
	require.NoError(t, tr.Check(t.Context(), driver.CheckSpec{}).Err)
}

// As in Kafka, AddPartitions takes the total number of partitions.
func TestTransportAddPartitionsTakesTotal(t *testing.T) {
	t.Parallel()
	tr, err := memory.New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close(context.Background())) })
	require.NoError(t, tr.CreateTopic(t.Context(), driver.TopicSpec{Name: "orders", Partitions: 2}))
	require.NoError(t, tr.AddPartitions(t.Context(), "orders", 5))
	info, err := tr.DescribeTopic(t.Context(), "orders")
	require.NoError(t, err)
	require.EqualValues(t, 5, info.Partitions)
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(tr.AddPartitions(t.Context(), "orders", 5)))
	require.Equal(t, driver.CodeNotFound, driver.CodeOf(tr.AddPartitions(t.Context(), "bills", 5)))
	tr.Disconnect(nil)
	require.Equal(t, driver.CodeUnavailable, driver.CodeOf(tr.AddPartitions(t.Context(), "orders", 6)))
}
