package kafka_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestCheckReportsBrokersAndTopics(t *testing.T) {
	t.Parallel()
	r := setup(t, 3)
	h := r.Check(testContext(t), driver.CheckSpec{Topics: []string{r.topic}, BrokerTimeout: testTimeout})
	require.NoError(t, h.Err)
	require.Empty(t, h.Warning)
	require.NotEmpty(t, h.Brokers)
	for _, b := range h.Brokers {
		require.NoError(t, b.Err)
		require.NotEmpty(t, b.Addr)
		require.GreaterOrEqual(t, b.ID, int32(0))
	}
	require.Len(t, h.Topics, 1)
	require.Len(t, h.Topics[0].Partitions, 3)

	require.Eventually(t, func() bool { // a slow machine can need longer than the default time-out
		h = r.Check(testContext(t), driver.CheckSpec{})
		return h.Err == nil && h.Warning == ""
	}, testTimeout, time.Millisecond)
	require.Empty(t, h.Topics)

	missing := kafkatb.Name(t)
	h = r.Check(testContext(t), driver.CheckSpec{Topics: []string{r.topic, missing}, BrokerTimeout: testTimeout})
	require.ErrorContains(t, h.Err, missing)
	require.NoError(t, h.Topics[0].Err)
	require.Error(t, h.Topics[1].Err)

	h = r.Check(testContext(t), driver.CheckSpec{MinBrokers: 100})
	require.Error(t, h.Err)
	h = r.Check(testContext(t), driver.CheckSpec{Topics: []string{r.topic}, MinInSync: 100})
	require.Error(t, h.Err)
	names, err := r.ListTopics(testContext(t))
	require.NoError(t, err)
	require.NotContains(t, names, missing, "Check must not create a topic")
	require.NotContains(t, names, ".")
}

func TestCheckReportsASilentBrokerAsWarning(t *testing.T) {
	t.Parallel()
	b := kafkatb.Embedded(t, kafkatest.WithBrokers(3))
	topic := kafkatb.Topic(t, b, 3)
	silent := b.Addrs()[1]
	stalled := &kafkatest.Dialer{}
	stalled.Stall()
	k := openAddrs(t, b.Addrs()[:1], kafka.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == silent {
			return stalled.DialContext(ctx, network, addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}), kafka.WithTimeouts(kafka.Timeouts{Request: testTimeout}))
	require.NoError(t, k.Ready(testContext(t)))
	stricter := make(chan driver.Health, 1)
	ctx := testContext(t)
	go func() { stricter <- k.Check(ctx, driver.CheckSpec{MinBrokers: 3, BrokerTimeout: 5 * time.Second}) }()
	h := k.Check(ctx, driver.CheckSpec{Topics: []string{topic}, MinBrokers: 2, BrokerTimeout: 5 * time.Second})
	require.NoError(t, h.Err)
	require.Contains(t, h.Warning, silent)
	require.NotContains(t, h.Warning, "\n")
	failed := 0
	for _, broker := range h.Brokers {
		if broker.Err != nil {
			require.Equal(t, silent, broker.Addr)
			require.Equal(t, driver.CodeUnavailable, driver.CodeOf(broker.Err))
			failed++
		}
	}
	require.Equal(t, 1, failed)
	require.Error(t, (<-stricter).Err)
}

func TestCheckWithoutABrokerIsCritical(t *testing.T) {
	t.Parallel()
	addr, _ := unusedAddr(t)
	k, err := kafka.New([]string{addr})
	require.NoError(t, err)
	h := k.Check(testContext(t), driver.CheckSpec{Topics: []string{"t"}})
	require.Error(t, h.Err)
	require.Len(t, h.Brokers, 1)
	require.Error(t, h.Brokers[0].Err)
	require.Error(t, h.Topics[0].Err)
	require.NotContains(t, h.Err.Error(), "\n")
	b, err := bus.New(k)
	require.NoError(t, err)
	h, err = b.Check(testContext(t), driver.CheckSpec{})
	require.NoError(t, err)
	require.Error(t, h.Err)
	require.NoError(t, b.Close())
	_, err = b.Check(testContext(t), driver.CheckSpec{})
	require.Equal(t, bus.CodeClosed, bus.CodeOf(err))
	require.Equal(t, driver.CodeClosed, driver.CodeOf(k.Check(testContext(t), driver.CheckSpec{}).Err))
}
