package trunkline_test

import (
	"bytes"
	"flag"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline"
)

// The tests of the environment are not parallel, because it belongs to the process.

// warnings returns the option that logs to a buffer, and the lines logged so far.
func warnings() (trunkline.LoadOption, func() []string) {
	var b bytes.Buffer
	handler := slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return trunkline.LoadLogger(slog.New(handler)), func() []string {
		return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	}
}

func TestProgramHasAnEnvironmentPrefixOfItsOwn(t *testing.T) {
	t.Setenv("TRUNKLINE_BUS", "memory://other-program")
	t.Setenv("TRUNKLINE_KAFKA_PASSWORD", "other")
	t.Setenv("CORE_BUS", "memory://core")
	t.Setenv("CORE_KAFKA_TLS", "true")
	t.Setenv("CORE_KAFKA_USER", "u")
	logger, lines := warnings()

	_, err := loadWith(t, []trunkline.LoadOption{trunkline.EnvPrefix("CORE"), logger})
	require.ErrorContains(t, err, "CORE_KAFKA_PASSWORD", "the error names the program's own variable")

	t.Setenv("CORE_KAFKA_PASSWORD", password)
	c, err := loadWith(t, []trunkline.LoadOption{trunkline.EnvPrefix("CORE"), logger})
	require.NoError(t, err)
	require.Equal(t, "memory://core", c.BusURL)
	require.Equal(t, password, c.Kafka.Password.Reveal())
	require.Equal(t, []string{""}, lines(), "variables with another prefix belong to other programs")
}

func TestMissingURLNamesTheVariableOfTheProgram(t *testing.T) {
	_, err := loadWith(t, []trunkline.LoadOption{trunkline.EnvPrefix("core")})
	require.ErrorContains(t, err, "CORE_BUS")
}

func TestUnknownVariablesAreLoggedOnceEachWithoutTheirValues(t *testing.T) {
	t.Setenv("WORKER_BUSS", "kafka://host:9092")
	t.Setenv("WORKER_KAFKA_PASWORD", password)
	t.Setenv("WORKER_COLOR", "blue")
	t.Setenv("WORKER_BUS", "memory://worker")
	t.Setenv("WORKER_SPEED", "9") // the program's own flag
	t.Setenv("WORKER_SERVICE_HOST", "10.0.0.1")
	t.Setenv("WORKER_SERVICE_PORT", "8080")
	t.Setenv("WORKER_SERVICE_PORT_HTTP", "8080")
	t.Setenv("WORKER_PORT", "tcp://10.0.0.1:8080")
	t.Setenv("WORKER_PORT_8080_TCP", "tcp://10.0.0.1:8080")
	t.Setenv("WORKER_PORT_8080_TCP_ADDR", "10.0.0.1")
	logger, lines := warnings()
	fs := flag.NewFlagSet("worker", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	speed := fs.Int("speed", 1, "")
	_, err := trunkline.LoadConfig(fs, nil, trunkline.DefaultConfig(), trunkline.EnvPrefix("WORKER"), logger)
	require.NoError(t, err)
	require.Equal(t, 9, *speed)
	const text = `level=WARN msg="environment variable ignored: this program has no such setting" variable=`
	require.Equal(t, []string{
		text + "WORKER_BUSS did_you_mean=WORKER_BUS",
		text + "WORKER_COLOR",
		text + "WORKER_KAFKA_PASWORD did_you_mean=WORKER_KAFKA_PASSWORD",
	}, lines())
}

func TestMisspelledVariableDoesNotLeaveAMemoryBus(t *testing.T) {
	t.Setenv("WORKER_BUSS", "kafka://host:9092")
	logger, lines := warnings()
	_, err := loadWith(t, []trunkline.LoadOption{trunkline.EnvPrefix("WORKER"), logger})
	require.ErrorContains(t, err, "BusURL is missing")
	require.Len(t, lines(), 1)
	require.Contains(t, lines()[0], "did_you_mean=WORKER_BUS")
}

func TestLoadConfigRejectsInvalidOptions(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "1A", "A-B", "A B"} {
		_, err := loadWith(t, []trunkline.LoadOption{trunkline.EnvPrefix(prefix)})
		require.ErrorContains(t, err, "EnvPrefix", prefix)
	}
	_, err := loadWith(t, []trunkline.LoadOption{trunkline.LoadLogger(nil)})
	require.ErrorContains(t, err, "LoadLogger")
}
