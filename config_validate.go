package trunkline

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// ConfigError reports which field of a Config is wrong, and what to do about it.
type ConfigError struct {
	// Field is the path of the field, such as "Kafka.User".
	Field string
	// Reason says what is wrong and what to do. It contains no secret.
	Reason string
	// Err is the cause, or nil.
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

// Validate returns nil, or a *ConfigError for the first field that is wrong. It checks
// that files can be read, and opens no connection.
func (c Config) Validate() error { return c.validate(DefaultEnvPrefix) }

func (c Config) validate(prefix string) error {
	if !validName(c.Service) {
		return &ConfigError{Field: "Service", Reason: "is empty, longer than 100 bytes, or has characters other than letters, digits, '.', '_' and '-': set -service"}
	}
	if c.BusURL == "" {
		return &ConfigError{Field: "BusURL", Reason: "is missing: set -bus or the environment variable " + envName(prefix, "bus") +
			" to a URL such as kafka://host:9092; memory://name is a bus inside this process"}
	}
	if _, err := driver.ParseURL(c.BusURL); err != nil {
		return &ConfigError{Field: "BusURL", Reason: "is not valid: set -bus", Err: err}
	}
	for _, a := range []struct{ field, flag, addr string }{{"ProbeAddr", "probe", c.ProbeAddr}, {"GRPCAddr", "grpc", c.GRPCAddr}} {
		if a.field == "GRPCAddr" && a.addr == "" {
			continue // the program has no gRPC server
		}
		if err := checkAddr(a.addr); err != nil {
			return &ConfigError{Field: a.field, Reason: "is not a host:port: set -" + a.flag + " to an address like 127.0.0.1:8080", Err: err}
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
			return &ConfigError{Field: d.field, Reason: "must be greater than 0, got " + d.d.String() + ": set -" + d.flag + " to a duration like 1s"}
		}
	}
	if c.CheckMinBrokers < 0 {
		return &ConfigError{Field: "CheckMinBrokers", Reason: "must be at least 0, got " + strconv.Itoa(c.CheckMinBrokers) + ": set -check-min-brokers to the number of brokers that must answer"}
	}
	return c.Kafka.validate(prefix)
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
