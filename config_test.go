package trunkline_test

import (
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline"
)

const password = "open sesame"

// load loads a configuration with an explicit bus URL, which has no default.
func load(t *testing.T, args ...string) (trunkline.Config, error) {
	t.Helper()
	return loadWith(t, nil, append([]string{"-bus", "memory://config"}, args...)...)
}

func loadWith(t *testing.T, opts []trunkline.LoadOption, args ...string) (trunkline.Config, error) {
	t.Helper()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return trunkline.LoadConfig(fs, args, trunkline.DefaultConfig(), opts...)
}

// validConfig returns the defaults with a bus inside this process.
func validConfig() trunkline.Config {
	c := trunkline.DefaultConfig()
	c.BusURL = "memory://config"
	return c
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestDefaultsNeedOnlyABusURL(t *testing.T) {
	t.Parallel()
	c, err := load(t)
	require.NoError(t, err)
	require.Equal(t, validConfig(), c)
}

// A missing or misspelled URL must not leave a program on a bus in its own memory.
func TestBusURLHasNoDefault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]func() (trunkline.Config, error){
		"nothing is set": func() (trunkline.Config, error) { return loadWith(t, nil) },
		"file without a URL": func() (trunkline.Config, error) {
			return loadWith(t, nil, "-config", writeFile(t, "service core\n"))
		},
	} {
		_, err := c()
		var ce *trunkline.ConfigError
		require.ErrorAs(t, err, &ce, name)
		require.Equal(t, "BusURL", ce.Field, name)
		require.ErrorContains(t, err, "TRUNKLINE_BUS", name)
	}
}

func TestFlagsSetEveryField(t *testing.T) {
	t.Parallel()
	secret := writeFile(t, password+"\n")
	c, err := load(t, "-service", "core", "-bus", "kafka://a:1,b:2", "-probe", ":0", "-live-interval", "2s",
		"-not-live-interval", "100ms", "-shutdown-timeout", "3s", "-log-level", "debug", "-check-topics", "orders, bills,", "-check-min-brokers", "2",
		"-kafka-tls", "-kafka-user", "u", "-kafka-password-file", secret)
	require.NoError(t, err)
	require.Equal(t, trunkline.Config{Service: "core", BusURL: "kafka://a:1,b:2", ProbeAddr: ":0",
		LiveInterval: 2 * time.Second, NotLiveInterval: 100 * time.Millisecond, ShutdownTimeout: 3 * time.Second, LogLevel: slog.LevelDebug,
		CheckTopics: []string{"orders", "bills"}, CheckMinBrokers: 2,
		Kafka: trunkline.KafkaSecurity{TLS: true, User: "u", PasswordFile: secret}}, c)
	got, err := c.Kafka.ReadPassword(t.Context())
	require.NoError(t, err)
	require.Equal(t, password, got, "the line break at the end is removed")

	require.NoError(t, os.WriteFile(secret, []byte("rotated"), 0o600))
	got, err = c.Kafka.ReadPassword(t.Context())
	require.NoError(t, err)
	require.Equal(t, "rotated", got)
	require.NoError(t, os.Remove(secret))
	_, err = c.Kafka.ReadPassword(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A program without a gRPC server does not advertise an address for one.
func TestGRPCFlagExistsOnlyWithADefault(t *testing.T) {
	t.Parallel()
	_, err := load(t, "-grpc", "localhost:7")
	require.ErrorContains(t, err, "-grpc")
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	defaults := validConfig()
	defaults.GRPCAddr = "127.0.0.1:9090"
	c, err := trunkline.LoadConfig(fs, []string{"-grpc", "localhost:7"}, defaults)
	require.NoError(t, err)
	require.Equal(t, "localhost:7", c.GRPCAddr)
}

func TestNoFlagTakesASecret(t *testing.T) {
	t.Parallel()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	c := trunkline.DefaultConfig()
	c.RegisterFlags(fs)
	fs.VisitAll(func(f *flag.Flag) {
		if strings.Contains(f.Name, "password") {
			require.True(t, strings.HasSuffix(f.Name, "-file"), f.Name)
		}
	})
	_, err := load(t, "-kafka-password", password)
	require.Error(t, err)
	require.NotContains(t, err.Error(), password)
}

// It is not parallel, because the environment belongs to the process.
func TestFlagsPrecedeEnvironmentAndEnvironmentPrecedesFile(t *testing.T) {
	file := writeFile(t, "service from-file\nprobe 127.0.0.1:1\nbus memory://from-file\n")
	t.Setenv("TRUNKLINE_SERVICE", "from-env")
	t.Setenv("TRUNKLINE_PROBE", "127.0.0.1:2")
	t.Setenv("TRUNKLINE_KAFKA_TLS", "true")
	t.Setenv("TRUNKLINE_KAFKA_USER", "u")
	t.Setenv("TRUNKLINE_KAFKA_PASSWORD", password)
	c, err := loadWith(t, nil, "-service", "from-flag", "-config", file)
	require.NoError(t, err)
	require.Equal(t, "from-flag", c.Service, "a flag comes before the environment")
	require.Equal(t, "127.0.0.1:2", c.ProbeAddr, "the environment comes before the file")
	require.Equal(t, "memory://from-file", c.BusURL)
	got, err := c.Kafka.ReadPassword(t.Context())
	require.NoError(t, err)
	require.Equal(t, password, got)

	t.Setenv("TRUNKLINE_LIVE_INTERVAL", "soon")
	_, err = load(t)
	require.ErrorContains(t, err, "live-interval")
}

func TestConfigFileRejectsUnknownNames(t *testing.T) {
	t.Parallel()
	_, err := load(t, "-config", writeFile(t, "kafka-password x\n"))
	require.ErrorContains(t, err, "kafka-password")
	_, err = load(t, "-config", filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestHelpReturnsErrHelp(t *testing.T) {
	t.Parallel()
	_, err := load(t, "-help")
	require.ErrorIs(t, err, flag.ErrHelp)
}

func TestValidateNamesTheFieldAndTheFlag(t *testing.T) {
	t.Parallel()
	pem := writeFile(t, "no pem")
	missing := filepath.Join(t.TempDir(), "missing")
	for name, tc := range map[string]struct {
		change func(*trunkline.Config)
		field  string
		advice string
	}{
		"empty service":     {func(c *trunkline.Config) { c.Service = "" }, "Service", "-service"},
		"odd service":       {func(c *trunkline.Config) { c.Service = "a b" }, "Service", "-service"},
		"no URL":            {func(c *trunkline.Config) { c.BusURL = "" }, "BusURL", "-bus"},
		"secret in URL":     {func(c *trunkline.Config) { c.BusURL = "kafka://u:" + password + "@h:1" }, "BusURL", "credentials"},
		"probe address":     {func(c *trunkline.Config) { c.ProbeAddr = "8080" }, "ProbeAddr", "-probe"},
		"gRPC port":         {func(c *trunkline.Config) { c.GRPCAddr = "h:70000" }, "GRPCAddr", "-grpc"},
		"live interval":     {func(c *trunkline.Config) { c.LiveInterval = 0 }, "LiveInterval", "-live-interval"},
		"not-live interval": {func(c *trunkline.Config) { c.NotLiveInterval = -1 }, "NotLiveInterval", "-not-live-interval"},
		"shutdown timeout":  {func(c *trunkline.Config) { c.ShutdownTimeout = 0 }, "ShutdownTimeout", "-shutdown-timeout"},
		"brokers":           {func(c *trunkline.Config) { c.CheckMinBrokers = -1 }, "CheckMinBrokers", "-check-min-brokers"},
		"user without TLS": {func(c *trunkline.Config) {
			c.Kafka = trunkline.KafkaSecurity{User: "u", Password: trunkline.NewSecret(password)}
		}, "Kafka.TLS", "-kafka-tls"},
		"token without TLS": {func(c *trunkline.Config) {
			c.Kafka = trunkline.KafkaSecurity{SASL: "OAUTHBEARER", Password: trunkline.NewSecret(password)}
		}, "Kafka.TLS", "-kafka-tls"},
		"token and user": {func(c *trunkline.Config) {
			c.Kafka = trunkline.KafkaSecurity{TLS: true, SASL: "oauthbearer", User: "u", Password: trunkline.NewSecret(password)}
		}, "Kafka.User", "-kafka-user"},
		"mechanism":          {func(c *trunkline.Config) { c.Kafka.SASL = "gssapi" }, "Kafka.SASL", "-kafka-sasl"},
		"mechanism, no user": {func(c *trunkline.Config) { c.Kafka.SASL = "scram-sha-256" }, "Kafka.User", "-kafka-user"},
		"name without TLS":   {func(c *trunkline.Config) { c.Kafka.ServerName = "kafka" }, "Kafka.TLS", "-kafka-tls"},
		"CA without TLS":     {func(c *trunkline.Config) { c.Kafka.CAFile = pem }, "Kafka.TLS", "-kafka-tls"},
		"no password": {func(c *trunkline.Config) { c.Kafka = trunkline.KafkaSecurity{TLS: true, User: "u"} },
			"Kafka.Password", "TRUNKLINE_KAFKA_PASSWORD"},
		"no user": {func(c *trunkline.Config) { c.Kafka.Password = trunkline.NewSecret(password) }, "Kafka.User", "-kafka-user"},
		"half a pair": {func(c *trunkline.Config) { c.Kafka = trunkline.KafkaSecurity{TLS: true, CertFile: pem} },
			"Kafka.CertFile", "-kafka-key-file"},
		"missing file": {func(c *trunkline.Config) { c.Kafka = trunkline.KafkaSecurity{TLS: true, CAFile: missing} },
			"Kafka.CAFile", "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := validConfig()
			tc.change(&c)
			err := c.Validate()
			var ce *trunkline.ConfigError
			require.ErrorAs(t, err, &ce)
			require.Equal(t, tc.field, ce.Field)
			require.ErrorContains(t, err, tc.advice)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), password)
		})
	}
}

func TestValidateAcceptsEveryMechanism(t *testing.T) {
	t.Parallel()
	secret := trunkline.NewSecret(password)
	for _, k := range []trunkline.KafkaSecurity{
		{TLS: true}, {TLS: true, User: "u", Password: secret}, {TLS: true, SASL: "plain", User: "u", Password: secret},
		{SASL: "SCRAM-SHA-512", User: "u", Password: secret}, {TLS: true, SASL: "oauthbearer", Password: secret},
	} {
		c := validConfig()
		c.Kafka = k
		require.NoError(t, c.Validate(), "%v", k)
	}
}
