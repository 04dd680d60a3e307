package trunkline

import (
	"flag"
	"log/slog"
	"strings"
	"time"
)

// Config is the configuration of a program. Start from [DefaultConfig]: the zero
// Config is not valid. Its printed and logged form contains no secrets.
//
// Each field names its flag. [LoadConfig] reads the same settings from environment
// variables and from a file.
type Config struct {
	// Service is the name of the program: in the ids of its RPC client, in discovery,
	// in its logs, and on its probes. It consists of letters, digits, '.', '_' and '-'.
	// The flag is -service; the default is "trunkline".
	Service string
	// BusURL is the URL of the message bus; see bus.Open. A scheme is available if the
	// program imports the package of its transport. The flag is -bus. There is no
	// default, so that a program whose URL is missing or misspelled does not start;
	// memory://name asks for a bus inside this process.
	BusURL string
	// ProbeAddr is the host:port of the HTTP probes; port 0 picks a free port. The flag
	// is -probe; the default is "127.0.0.1:8080".
	ProbeAddr string
	// GRPCAddr is the host:port of the program's gRPC server; port 0 picks a free port. It
	// is for programs with a gRPC server of their own: an App does not use it. The flag is
	// -grpc. There is no default, and no flag unless the program sets one.
	GRPCAddr string
	// LiveInterval is how long a live bus may be silent before the monitor probes it.
	// The flag is -live-interval; the default is 500ms.
	LiveInterval time.Duration
	// NotLiveInterval is the time between probes while the bus is not live. The flag is
	// -not-live-interval; the default is 250ms.
	NotLiveInterval time.Duration
	// CheckTopics are topics that the program needs. The checker describes them every few
	// seconds, and the program is not ready while one of them is missing or has a
	// partition without a leader. The flag is -check-topics, with names separated by
	// commas. The default is none.
	CheckTopics []string
	// CheckMinBrokers is the number of brokers that must answer for the program to be
	// ready. The flag is -check-min-brokers. The default is 0: one broker is enough. If
	// it is 0 and CheckTopics is empty, the App has no checker.
	CheckMinBrokers int
	// ShutdownTimeout bounds the whole shutdown: draining, then closing. The flag is
	// -shutdown-timeout; the default is 15s.
	ShutdownTimeout time.Duration
	// LogLevel is the lowest level that [NewLogger] logs. The flag is -log-level; the
	// default is INFO.
	LogLevel slog.Level
	// Kafka configures TLS and SASL for connections to Kafka brokers.
	Kafka KafkaSecurity
}

// DefaultConfig returns a Config with the defaults. It is valid as soon as BusURL is set.
func DefaultConfig() Config {
	return Config{
		Service:         "trunkline",
		ProbeAddr:       "127.0.0.1:8080",
		LiveInterval:    500 * time.Millisecond,
		NotLiveInterval: 250 * time.Millisecond,
		ShutdownTimeout: 15 * time.Second,
		LogLevel:        slog.LevelInfo,
	}
}

// RegisterFlags registers a flag on fs for every field except the secret ones, with
// the present value of the field as the default. It registers -grpc only if GRPCAddr is
// set. Parsing fs writes into c.
func (c *Config) RegisterFlags(fs *flag.FlagSet) { c.registerFlags(fs, DefaultEnvPrefix) }

func (c *Config) registerFlags(fs *flag.FlagSet, prefix string) {
	fs.StringVar(&c.Service, "service", c.Service, "`name` of this program, in RPC ids, discovery, logs and probes")
	fs.StringVar(&c.BusURL, "bus", c.BusURL, "`URL` of the message bus, such as kafka://host:9092 or memory://name")
	fs.StringVar(&c.ProbeAddr, "probe", c.ProbeAddr, "`host:port` of the HTTP probes; port 0 picks a free port")
	if c.GRPCAddr != "" {
		fs.StringVar(&c.GRPCAddr, "grpc", c.GRPCAddr, "`host:port` of the gRPC server; port 0 picks a free port")
	}
	fs.DurationVar(&c.LiveInterval, "live-interval", c.LiveInterval, "how long a live bus may be silent before it is probed")
	fs.DurationVar(&c.NotLiveInterval, "not-live-interval", c.NotLiveInterval, "time between probes while the bus is not live")
	fs.Var((*namesFlag)(&c.CheckTopics), "check-topics", "`names` of topics, separated by commas, that must exist and have leaders for this program to be ready")
	fs.IntVar(&c.CheckMinBrokers, "check-min-brokers", c.CheckMinBrokers, "`number` of brokers that must answer for this program to be ready; 0 means one")
	fs.DurationVar(&c.ShutdownTimeout, "shutdown-timeout", c.ShutdownTimeout, "limit for the whole shutdown")
	fs.TextVar(&c.LogLevel, "log-level", c.LogLevel, "lowest `level` that is logged: DEBUG, INFO, WARN or ERROR")
	c.Kafka.registerFlags(fs, prefix)
}

// namesFlag is the value of a flag that takes names separated by commas.
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
