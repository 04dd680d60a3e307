package kafka_test

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	password := func(context.Context) (string, error) { return "secret", nil }
	transport, done, err := kafka.NewTransport(kafka.Config{Brokers: []string{"127.0.0.1:1"}, ClientID: "c",
		TLS: &tls.Config{ServerName: "broker"}, User: "u", Password: password})
	require.NoError(t, err, "an absent broker is no fault")
	done()
	require.Equal(t, bus.CodeClosed, bus.CodeOf(transport.Ping(t.Context())))
	done() // once more does no harm

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
