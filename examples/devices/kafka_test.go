package devices_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/examples/devices"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestKafkaConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("secret\n"), 0o600))
	c := trunkline.DefaultConfig()
	c.Service, c.BusURL = "core", "kafka://a:1,b:2"
	k, err := devices.KafkaConfig(c, discard)
	require.NoError(t, err)
	require.Equal(t, kafka.Config{Brokers: []string{"a:1", "b:2"}, ClientID: "core", Logger: discard}, k)

	c.Kafka = trunkline.KafkaSecurity{TLS: true, CAFile: file, SASL: "scram-sha-512", User: "u", PasswordFile: file}
	k, err = devices.KafkaConfig(c, discard)
	require.NoError(t, err)
	require.Equal(t, "file "+file, k.TLSFrom.CA.String())
	require.Empty(t, k.TLSFrom.Cert.String())
	require.Equal(t, "scram-sha-512", k.SASL)
	password, err := k.Password(t.Context())
	require.NoError(t, err)
	require.Equal(t, "secret", password)

	c.BusURL = "memory://x"
	_, err = devices.KafkaConfig(c, discard)
	var ce *trunkline.ConfigError
	require.ErrorAs(t, err, &ce)
	require.Equal(t, "BusURL", ce.Field)
	c.BusURL = "kafka://a:1?speed=9"
	_, err = devices.KafkaConfig(c, discard)
	require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err))
}
