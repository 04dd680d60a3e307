package kafka_test

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestNewTransportFromConfig(t *testing.T) {
	t.Parallel()
	password := func(context.Context) (string, error) { return "secret", nil }
	transport, done, err := kafka.NewTransport(kafka.Config{Brokers: []string{"127.0.0.1:1"}, ClientID: "c",
		TLS: &tls.Config{ServerName: "broker"}, User: "u", Password: password})
	require.NoError(t, err, "New does not need a broker")
	done()
	require.Equal(t, bus.CodeClosed, bus.CodeOf(transport.Ping(t.Context())))
	done() // has no effect

	for name, c := range map[string]kafka.Config{
		"no brokers":  {},
		"no password": {Brokers: []string{"h:1"}, User: "u"},
		"no user":     {Brokers: []string{"h:1"}, Password: password},
		"bad option":  {Brokers: []string{"h:1"}, Options: []kafka.Option{kafka.WithClientID("")}},
	} {
		_, _, err := kafka.NewTransport(c)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), name)
	}
}
