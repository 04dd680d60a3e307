package kafka_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestNewRejectsWrongOptions(t *testing.T) {
	t.Parallel()
	addrs := []string{"127.0.0.1:1"}
	for name, c := range map[string]struct {
		brokers []string
		opt     kafka.Option
	}{
		"no brokers":    {brokers: nil},
		"no port":       {brokers: []string{"host"}},
		"nil option":    {brokers: addrs, opt: nil},
		"client id":     {brokers: addrs, opt: kafka.WithClientID("")},
		"version":       {brokers: addrs, opt: kafka.WithVersion(sarama.V0_10_0_0)},
		"marshaler":     {brokers: addrs, opt: kafka.WithMarshaler(nil)},
		"topic":         {brokers: addrs, opt: kafka.WithTopicMarshaler("", kafka.RawMarshaler{})},
		"dialer":        {brokers: addrs, opt: kafka.WithDialer(nil)},
		"timeout":       {brokers: addrs, opt: kafka.WithTimeouts(kafka.Timeouts{Dial: 1})},
		"reconnect":     {brokers: addrs, opt: kafka.WithReconnect(0, 0)},
		"tls":           {brokers: addrs, opt: kafka.WithTLS(nil)},
		"old tls":       {brokers: addrs, opt: kafka.WithTLS(&tls.Config{MaxVersion: tls.VersionTLS11})},
		"sasl":          {brokers: addrs, opt: kafka.WithSASLPlain("", nil)},
		"compression":   {brokers: addrs, opt: kafka.WithCompression(99)},
		"linger":        {brokers: addrs, opt: kafka.WithLinger(time.Second)},
		"max bytes":     {brokers: addrs, opt: kafka.WithMaxMessageBytes(1)},
		"delivery":      {brokers: addrs, opt: kafka.WithDeliveryTimeout(time.Millisecond)},
		"balance":       {brokers: addrs, opt: kafka.WithBalance(99)},
		"static":        {brokers: addrs, opt: kafka.WithStaticMembership("no spaces")},
		"fetch":         {brokers: addrs, opt: kafka.WithFetch(kafka.Fetch{MinBytes: -1})},
		"fetch wait":    {brokers: addrs, opt: kafka.WithFetch(kafka.Fetch{Wait: 3 * time.Second})},
		"sarama":        {brokers: addrs, opt: kafka.WithSaramaConfig(nil)},
		"sarama values": {brokers: addrs, opt: kafka.WithSaramaConfig(func(c *sarama.Config) { c.Consumer.Fetch.Default = -1 })},
	} {
		_, err := kafka.New(c.brokers, c.opt)
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err), name)
	}
}

func TestURLConfiguresTheTransport(t *testing.T) {
	t.Parallel()
	k, err := driver.Open(t.Context(), "kafka://127.0.0.1:1,127.0.0.1:2?client_id=me&version=3.6.0&request_timeout=5s"+
		"&compression=zstd&linger=5ms&max_message_bytes=2000000&delivery_timeout=1m&balance=sticky&instance_id=pod-0&rack=eu-1a"+
		"&read_committed=true&fetch_min_bytes=1&fetch_bytes=65536&fetch_wait=100ms")
	require.NoError(t, err)
	require.Equal(t, "kafka", k.Capabilities().Name)
	require.Greater(t, k.Capabilities().MaxMessageBytes, 1_000_000)
	require.NoError(t, k.Close(testContext(t)))
	for name, url := range map[string]string{
		"no brokers": "kafka://",
		"unknown":    "kafka://127.0.0.1:1?password=hunter2",
		"userinfo":   "kafka://me:hunter2@127.0.0.1:1",
		"version":    "kafka://127.0.0.1:1?version=hunter2",
		"path":       "kafka://127.0.0.1:1/hunter2",
		"address":    "kafka://hunter2",
		"codec":      "kafka://127.0.0.1:1?compression=hunter2",
		"linger":     "kafka://127.0.0.1:1?linger=1s",
		"balance":    "kafka://127.0.0.1:1?balance=hunter2",
		"instance":   "kafka://127.0.0.1:1?instance_id=no%20spaces",
		"fetch":      "kafka://127.0.0.1:1?fetch_bytes=4294967296",
	} {
		_, err := driver.Open(t.Context(), url)
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err), name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
}
