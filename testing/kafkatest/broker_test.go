package kafkatest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/internal/freeport"
	"github.com/trunkline/trunkline/testing/kafkatest"
)

func start(t *testing.T, opts ...kafkatest.Option) *kafkatest.Broker {
	t.Helper()
	b, err := kafkatest.Start(t.Context(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

// partitions returns the number of partitions of each topic.
func partitions(t *testing.T, addrs []string) map[string]int {
	t.Helper()
	conf := sarama.NewConfig()
	conf.Version = sarama.V2_8_0_0
	conf.Metadata.AllowAutoTopicCreation = false
	client, err := sarama.NewClient(addrs, conf)
	require.NoError(t, err)
	defer client.Close()
	topics, err := client.Topics()
	require.NoError(t, err)
	counts := make(map[string]int)
	for _, topic := range topics {
		ps, err := client.Partitions(topic)
		require.NoError(t, err)
		counts[topic] = len(ps)
	}
	return counts
}

func TestStartRunsOneEmptyBrokerByDefault(t *testing.T) {
	t.Parallel()
	b := start(t)
	require.True(t, b.Embedded())
	require.Len(t, b.Addrs(), 1)
	require.Regexp(t, `^127\.0\.0\.1:\d+$`, b.Addrs()[0])
	require.Empty(t, partitions(t, b.Addrs()))
}

func TestStartCreatesTopics(t *testing.T) {
	t.Parallel()
	b := start(t, kafkatest.WithDefaultPartitions(3), kafkatest.WithTopics(8, "a", "b"), kafkatest.WithTopics(0, "c"))
	require.Equal(t, map[string]int{"a": 8, "b": 8, "c": 3}, partitions(t, b.Addrs()))
}

func TestStartRunsSeveralBrokers(t *testing.T) {
	t.Parallel()
	b := start(t, kafkatest.WithBrokers(3), kafkatest.WithTopics(6, "spread"))
	require.Len(t, b.Addrs(), 3)
	require.Equal(t, map[string]int{"spread": 6}, partitions(t, b.Addrs()))
}

func TestStartUsesThePortAndCloseFreesIt(t *testing.T) {
	t.Parallel()
	n, err := freeport.Loopback() // other programs do not get this port while it is free
	require.NoError(t, err)
	port := strconv.Itoa(n)
	b := start(t, kafkatest.WithPort(n))
	require.Equal(t, []string{net.JoinHostPort("127.0.0.1", port)}, b.Addrs())

	_, err = kafkatest.Start(t.Context(), kafkatest.WithPort(n))
	require.ErrorContains(t, err, port)

	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	again := start(t, kafkatest.WithPort(n))
	require.Equal(t, b.Addrs(), again.Addrs())
}

func TestCloseClosesConnections(t *testing.T) {
	t.Parallel()
	b := start(t)
	conn, err := net.Dial("tcp", b.Addrs()[0])
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, b.Close())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "Close must close the connection")
}

func TestStartRejectsWrongOptions(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		opt  kafkatest.Option
		want string
	}{
		"no brokers":           {t.Context(), kafkatest.WithBrokers(0), "Brokers(0)"},
		"negative port":        {t.Context(), kafkatest.WithPort(-1), "Port(-1)"},
		"no partitions":        {t.Context(), kafkatest.WithDefaultPartitions(0), "Partitions(0)"},
		"topic without a name": {t.Context(), kafkatest.WithTopics(1, ""), "must not be empty"},
		"negative partitions":  {t.Context(), kafkatest.WithTopics(-1, "a"), `Topics(-1, "a")`},
		"ended context":        {ended, kafkatest.WithBrokers(1), "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := kafkatest.Start(tt.ctx, tt.opt)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func ExampleStart() {
	ctx := context.Background()
	b, err := kafkatest.Start(ctx, kafkatest.WithTopics(8, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	fmt.Println(len(b.Addrs()), "broker")
	// Output: 1 broker
}

func ExampleDialer() {
	b, err := kafkatest.Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	var network kafkatest.Dialer
	conf := sarama.NewConfig()
	conf.Net.Proxy.Enable = true
	conf.Net.Proxy.Dialer = &network
	conf.Metadata.Retry.Max = 0

	network.Cut()
	_, err = sarama.NewClient(b.Addrs(), conf)
	fmt.Println("while cut:", err != nil)

	network.Restore()
	client, err := sarama.NewClient(b.Addrs(), conf)
	fmt.Println("restored:", err)
	if err == nil {
		client.Close()
	}
	// Output:
	// while cut: true
	// restored: <nil>
}

func ExampleBroker_CreateTopic() {
	ctx := context.Background()
	b, err := kafkatest.Start(ctx, kafkatest.WithBrokers(3))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	fmt.Println(b.CreateTopic(ctx, "orders", 8))
	fmt.Println(b.AddPartitions(ctx, "orders", 12))
	fmt.Println(b.DeleteTopic(ctx, "orders"))
	// Output:
	// <nil>
	// <nil>
	// <nil>
}

// Attach checks that a running cluster meets the options.
func ExampleAttach() {
	ctx := context.Background()
	running, err := kafkatest.Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer running.Close()

	b, err := kafkatest.Attach(ctx, running.Addrs(), kafkatest.WithTopics(8, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("embedded:", b.Embedded())
	_, err = kafkatest.Attach(ctx, running.Addrs(), kafkatest.WithBrokers(3))
	fmt.Println("unsuitable:", errors.Is(err, kafkatest.ErrUnsuitable))
	// Output:
	// embedded: false
	// unsuitable: true
}
