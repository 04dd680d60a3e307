package trunkline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"

	"github.com/trunkline/trunkline/bus/driver"
)

// EnvPrefix begins the names of the environment variables that LoadConfig reads:
// the flag -live-interval is TRUNKLINE_LIVE_INTERVAL.
const EnvPrefix = "TRUNKLINE"

// PasswordEnv is the environment variable that holds the Kafka password, unless
// KafkaSecurity.PasswordFile names a file that does.
const PasswordEnv = EnvPrefix + "_KAFKA_PASSWORD"

// Config is what a program needs to be told. Start from DefaultConfig: the zero
// Config is not valid. It prints and logs without its secrets.
type Config struct {
	// Service names the program: in its RPC instance id, in its logs, and as the
	// service of the message bus in its probe registry. Letters, digits, '.', '_' and
	// '-'. Flag -service, default "trunkline".
	Service string
	// BusURL is the message bus; see bus.Open. Which schemes there are depends on the
	// transports that the program imports. Flag -bus, default "memory://trunkline".
	BusURL string
	// ProbeAddr is the host:port of the HTTP probes; port 0 picks a free one. Flag
	// -probe, default "127.0.0.1:8080".
	ProbeAddr string
	// GRPCAddr is the host:port of the program's gRPC server, for programs that have
	// one; port 0 picks a free one. Flag -grpc, default "127.0.0.1:9090".
	GRPCAddr string
	// LiveInterval is how long the bus may be silent before it is probed. Flag
	// -live-interval, default 500ms.
	LiveInterval time.Duration
	// NotLiveInterval is the time between probes while the bus is not live. Flag
	// -not-live-interval, default 250ms.
	NotLiveInterval time.Duration
	// CheckTopics are looked at every few seconds, as are all brokers: the program is not
	// ready while one of them is missing or a partition of it has no leader. Flag
	// -check-topics, names with commas between. None, and no CheckMinBrokers: nothing is looked at.
	CheckTopics []string
	// CheckMinBrokers is how many brokers have to answer for the program to be ready.
	// Flag -check-min-brokers, default 0: no matter how many do, as long as one does.
	CheckMinBrokers int
	// ShutdownTimeout bounds the whole of a shutdown: draining, then closing. Flag
	// -shutdown-timeout, default 15s.
	ShutdownTimeout time.Duration
	// LogLevel is the lowest level that is logged. Flag -log-level, default INFO.
	LogLevel slog.Level
	// Kafka is how Kafka's brokers are let convince themselves of who we are, and we of
	// who they are.
	Kafka KafkaSecurity
}

// KafkaSecurity is how connections to Kafka are secured. The zero value is plain
// text without authentication. Secrets are never flags: flags are seen by every user
// of the machine.
type KafkaSecurity struct {
	// TLS encrypts, and verifies the brokers' certificates. Flag -kafka-tls.
	TLS bool
	// CAFile holds the PEM certificates to trust instead of the system's. Flag
	// -kafka-ca-file.
	CAFile string
	// CertFile and KeyFile hold the program's own PEM certificate and key, for brokers
	// that ask for one. Flags -kafka-cert-file and -kafka-key-file.
	CertFile, KeyFile string
	// ServerName is the name to expect in the brokers' certificates instead of their
	// host's. Flag -kafka-server-name.
	ServerName string
	// SASL is how the program authenticates: plain, scram-sha-256, scram-sha-512 or
	// oauthbearer. Flag -kafka-sasl. "" is plain when User is set, and not at all when
	// it isn't. plain and oauthbearer need TLS.
	SASL string
	// User is who authenticates; for oauthbearer the token says it. Flag -kafka-user.
	User string
	// PasswordFile holds User's password, or the token of oauthbearer; it is read whenever a password is needed, so
	// a rotated one is picked up. Flag -kafka-password-file.
	PasswordFile string
	// Password is the same, from the environment variable TRUNKLINE_KAFKA_PASSWORD.
	Password Secret
}

// Enabled says whether anything in it is set.
func (k KafkaSecurity) Enabled() bool { return k != KafkaSecurity{} }

// ReadPassword returns the password, from PasswordFile if that is set.
func (k KafkaSecurity) ReadPassword(context.Context) (string, error) {
	if k.PasswordFile == "" {
		return k.Password.Reveal(), nil
	}
	text, err := os.ReadFile(k.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the Kafka password: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// DefaultConfig returns the defaults, which are valid.
func DefaultConfig() Config {
	return Config{
		Service:         "trunkline",
		BusURL:          "memory://trunkline",
		ProbeAddr:       "127.0.0.1:8080",
		GRPCAddr:        "127.0.0.1:9090",
		LiveInterval:    500 * time.Millisecond,
		NotLiveInterval: 250 * time.Millisecond,
		ShutdownTimeout: 15 * time.Second,
		LogLevel:        slog.LevelInfo,
	}
}

// RegisterFlags registers a flag for every field but the secret ones, with the
// field's present value as default. Parsing writes into c.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Service, "service", c.Service, "`name` of this program: in its RPC instance id, logs and probes")
	fs.StringVar(&c.BusURL, "bus", c.BusURL, "message bus `URL`")
	fs.StringVar(&c.ProbeAddr, "probe", c.ProbeAddr, "`host:port` of the HTTP probes; port 0 picks a free one")
	fs.StringVar(&c.GRPCAddr, "grpc", c.GRPCAddr, "`host:port` of the gRPC server; port 0 picks a free one")
	fs.DurationVar(&c.LiveInterval, "live-interval", c.LiveInterval, "how long the bus may be silent before it is probed")
	fs.DurationVar(&c.NotLiveInterval, "not-live-interval", c.NotLiveInterval, "time between probes while the bus is not live")
	fs.Var((*namesFlag)(&c.CheckTopics), "check-topics", "topics that have to be there and led for this program to be ready, as `name,name`")
	fs.IntVar(&c.CheckMinBrokers, "check-min-brokers", c.CheckMinBrokers, "`number` of brokers that have to answer for this program to be ready")
	fs.DurationVar(&c.ShutdownTimeout, "shutdown-timeout", c.ShutdownTimeout, "bound for draining and closing")
	fs.TextVar(&c.LogLevel, "log-level", c.LogLevel, "lowest `level` that is logged: DEBUG, INFO, WARN or ERROR")
	fs.BoolVar(&c.Kafka.TLS, "kafka-tls", c.Kafka.TLS, "encrypt connections to Kafka and verify its certificates")
	fs.StringVar(&c.Kafka.CAFile, "kafka-ca-file", c.Kafka.CAFile, "PEM `file` of the certificates to trust instead of the system's")
	fs.StringVar(&c.Kafka.CertFile, "kafka-cert-file", c.Kafka.CertFile, "PEM `file` of this program's certificate")
	fs.StringVar(&c.Kafka.KeyFile, "kafka-key-file", c.Kafka.KeyFile, "PEM `file` of this program's key")
	fs.StringVar(&c.Kafka.ServerName, "kafka-server-name", c.Kafka.ServerName, "`name` to expect in the certificates of Kafka's brokers instead of their host's")
	fs.StringVar(&c.Kafka.SASL, "kafka-sasl", c.Kafka.SASL, "`mechanism` to authenticate to Kafka with: plain, scram-sha-256, scram-sha-512 or oauthbearer; plain when there is a user")
	fs.StringVar(&c.Kafka.User, "kafka-user", c.Kafka.User, "`name` to authenticate to Kafka with; the password comes from "+PasswordEnv+" or -kafka-password-file")
	fs.StringVar(&c.Kafka.PasswordFile, "kafka-password-file", c.Kafka.PasswordFile, "`file` that holds the Kafka password")
}

// namesFlag is a list of names with commas between.
type namesFlag []string

func (f *namesFlag) String() string { return strings.Join(*f, ",") }

func (f *namesFlag) Set(s string) error {
	*f = nil
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name != "" {
			*f = append(*f, name)
		}
	}
	return nil
}

// LoadConfig registers the flags of Config on fs, with defaults as their defaults,
// and sets them from args, else from the environment (TRUNKLINE_ and the flag's name
// in capitals, '_' for '-'), else from the file that -config names (a flag's name and
// value on each line). The Kafka password is read from the environment only. The
// result is valid. For -help the error is flag.ErrHelp, as fs.Parse has it.
func LoadConfig(fs *flag.FlagSet, args []string, defaults Config) (Config, error) {
	c := defaults
	c.RegisterFlags(fs)
	fs.String("config", "", "`file` with a flag's name and value on each line, for flags that are not set otherwise")
	err := ff.Parse(fs, args, ff.WithEnvVarPrefix(EnvPrefix), ff.WithConfigFileFlag("config"), ff.WithConfigFileParser(ff.PlainParser))
	if err != nil {
		return Config{}, fmt.Errorf("trunkline: configuration: %w", err)
	}
	if password := os.Getenv(PasswordEnv); password != "" {
		c.Kafka.Password = NewSecret(password)
	}
	return c, c.Validate()
}

// ConfigError says which field of a Config is wrong, and what to do.
type ConfigError struct {
	// Field is the field's path: "Kafka.User".
	Field string
	// Reason says what is wrong with it and what to do. It repeats no secret.
	Reason string
	// Err is the cause, nil when there is none.
	Err error
}

// Error returns one line.
func (e *ConfigError) Error() string {
	s := "trunkline: configuration: " + e.Field + " " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// Validate returns nil, or a *ConfigError for the first field that is wrong. It looks
// at files but opens no connection.
func (c Config) Validate() error {
	if !validName(c.Service) {
		return &ConfigError{Field: "Service", Reason: "is empty, over 100 bytes, or has other characters than letters, digits, '.', '_' and '-': set -service"}
	}
	if _, err := driver.ParseURL(c.BusURL); err != nil {
		return &ConfigError{Field: "BusURL", Reason: "can't be used, set -bus", Err: err}
	}
	for _, a := range []struct{ field, flag, addr string }{{"ProbeAddr", "probe", c.ProbeAddr}, {"GRPCAddr", "grpc", c.GRPCAddr}} {
		if err := checkAddr(a.addr); err != nil {
			return &ConfigError{Field: a.field, Reason: "is no host:port, set -" + a.flag + " to one like 127.0.0.1:8080", Err: err}
		}
	}
	for _, d := range []struct {
		field, flag string
		d           time.Duration
	}{
		{"LiveInterval", "live-interval", c.LiveInterval},
		{"NotLiveInterval", "not-live-interval", c.NotLiveInterval},
		{"ShutdownTimeout", "shutdown-timeout", c.ShutdownTimeout},
	} {
		if d.d <= 0 {
			return &ConfigError{Field: d.field, Reason: "is not over zero: set -" + d.flag + " to a duration like 1s"}
		}
	}
	if c.CheckMinBrokers < 0 {
		return &ConfigError{Field: "CheckMinBrokers", Reason: "is negative: set -check-min-brokers to how many brokers have to answer, or 0"}
	}
	return c.Kafka.validate()
}

func (k KafkaSecurity) validate() error {
	switch {
	case (k.CertFile == "") != (k.KeyFile == ""):
		return &ConfigError{Field: "Kafka.CertFile", Reason: "and Kafka.KeyFile go together: set both -kafka-cert-file and -kafka-key-file, or neither"}
	case !k.TLS && (k.CAFile != "" || k.CertFile != "" || k.ServerName != ""):
		return &ConfigError{Field: "Kafka.TLS", Reason: "is off although certificates are given: set -kafka-tls, or leave them out"}
	}
	if err := k.validateLogin(); err != nil {
		return err
	}
	for _, f := range []struct{ field, file string }{
		{"Kafka.CAFile", k.CAFile}, {"Kafka.CertFile", k.CertFile}, {"Kafka.KeyFile", k.KeyFile}, {"Kafka.PasswordFile", k.PasswordFile},
	} {
		if f.file == "" {
			continue
		}
		if err := readable(f.file); err != nil {
			return &ConfigError{Field: f.field, Reason: "names a file that can't be read", Err: err}
		}
	}
	return nil
}

func (k KafkaSecurity) validateLogin() error {
	mechanism := strings.ToLower(k.SASL)
	secret := k.PasswordFile != "" || k.Password.IsSet()
	if mechanism == "" {
		if k.User == "" && !secret {
			return nil
		}
		mechanism = "plain"
	}
	switch mechanism {
	case "plain", "scram-sha-256", "scram-sha-512", "oauthbearer":
	default:
		return &ConfigError{Field: "Kafka.SASL", Reason: "is no mechanism: set -kafka-sasl to plain, scram-sha-256, scram-sha-512 or oauthbearer"}
	}
	switch {
	case mechanism == "oauthbearer" && k.User != "":
		return &ConfigError{Field: "Kafka.User", Reason: "is given although the token of oauthbearer says who it is: leave -kafka-user out"}
	case mechanism != "oauthbearer" && k.User == "":
		return &ConfigError{Field: "Kafka.User", Reason: "is missing: set -kafka-user"}
	case !secret:
		return &ConfigError{Field: "Kafka.Password", Reason: "is missing: set " + PasswordEnv + " in the environment, or -kafka-password-file"}
	case !k.TLS && !strings.HasPrefix(mechanism, "scram-"):
		return &ConfigError{Field: "Kafka.TLS", Reason: "is off although " + mechanism + " sends the secret itself: set -kafka-tls"}
	}
	return nil
}

func readable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	return f.Close()
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errors.New("the port is not a number from 0 to 65535")
	}
	return nil
}

func validName(s string) bool {
	return s != "" && len(s) <= 100 && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}) < 0
}
