// Package kafkaenv reads the configuration of the producer and consumer examples from
// environment variables. They have the same names as in the examples of dp-kafka:
//
//	KAFKA_ADDR                 brokers as host:port, separated by commas; localhost:9092
//	KAFKA_SEC_PROTO            TLS, or empty for plain text
//	KAFKA_SEC_CA_CERTS         PEM or a PEM file: the CAs to trust instead of the system's
//	KAFKA_SEC_CLIENT_CERT      PEM or a PEM file: the certificate of this program
//	KAFKA_SEC_CLIENT_KEY       PEM or a PEM file: the private key of this program
//	KAFKA_VERSION              the newest protocol version to use; 2.8.0
//	KAFKA_MAX_BYTES            the size of the largest message; 1000000
//	GRACEFUL_SHUTDOWN_TIMEOUT  limit for the shutdown; 5s
//
// In PEM, \n means a line break. Secrets are never flags, because every user of a machine
// can read the flags of its processes.
package kafkaenv

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/transport/kafka"
)

// Config is the configuration that the examples share.
type Config struct {
	Brokers    []string
	TLS        bool
	CACerts    string
	ClientCert string
	ClientKey  trunkline.Secret
	Version    string
	MaxBytes   int
	Shutdown   time.Duration
}

// Env reads environment variables and collects their errors.
type Env struct {
	get  func(string) string
	errs []error
}

// NewEnv returns an Env that reads with get, such as os.Getenv.
func NewEnv(get func(string) string) *Env { return &Env{get: get} }

// Err returns the errors so far, or nil.
func (e *Env) Err() error { return errors.Join(e.errs...) }

func (e *Env) wrong(name, why string) { e.errs = append(e.errs, fmt.Errorf("%s %s", name, why)) }

// Text returns a variable, or the default if it is empty.
func (e *Env) Text(name, otherwise string) string {
	if v := e.get(name); v != "" {
		return v
	}
	return otherwise
}

// Int returns a variable that must be a number of at least 1.
func (e *Env) Int(name string, otherwise int) int {
	v := e.get(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		e.wrong(name, "must be a number of at least 1")
	}
	return n
}

// Bool returns a variable that must be true or false.
func (e *Env) Bool(name string) bool {
	v := e.get(name)
	if v == "" {
		return false
	}
	yes, err := strconv.ParseBool(v)
	if err != nil {
		e.wrong(name, "must be true or false")
	}
	return yes
}

// Duration returns a variable that must be a duration greater than 0.
func (e *Env) Duration(name string, otherwise time.Duration) time.Duration {
	v := e.get(name)
	if v == "" {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		e.wrong(name, "must be a duration greater than 0, like 5s")
	}
	return d
}

// Config returns the configuration that the examples share. Its errors are in Err.
func (e *Env) Config() Config {
	c := Config{
		CACerts:    e.Text("KAFKA_SEC_CA_CERTS", ""),
		ClientCert: e.Text("KAFKA_SEC_CLIENT_CERT", ""),
		ClientKey:  trunkline.NewSecret(e.Text("KAFKA_SEC_CLIENT_KEY", "")),
		Version:    e.Text("KAFKA_VERSION", ""),
		MaxBytes:   e.Int("KAFKA_MAX_BYTES", 1_000_000),
		Shutdown:   e.Duration("GRACEFUL_SHUTDOWN_TIMEOUT", 5*time.Second),
	}
	for addr := range strings.SplitSeq(e.Text("KAFKA_ADDR", "localhost:9092"), ",") {
		c.Brokers = append(c.Brokers, strings.TrimSpace(addr))
	}
	switch proto := e.Text("KAFKA_SEC_PROTO", ""); {
	case strings.EqualFold(proto, "TLS"):
		c.TLS = true
	case proto != "":
		e.wrong("KAFKA_SEC_PROTO", "must be TLS or empty")
	case c.CACerts != "" || c.ClientCert != "" || c.ClientKey.IsSet():
		e.wrong("KAFKA_SEC_PROTO", "must be TLS, because certificates are set")
	}
	if e.Bool("KAFKA_SEC_SKIP_VERIFY") {
		e.wrong("KAFKA_SEC_SKIP_VERIFY", "is not supported, because TLS without verification is not secure: set KAFKA_SEC_CA_CERTS to the CA of the brokers")
	}
	return c
}

// Open opens the bus. It does not wait for a broker.
func (c Config) Open(log *slog.Logger) (*bus.Bus, error) {
	opts := []kafka.Option{kafka.WithClientID("trunkline-example"), kafka.WithLogger(log)}
	if c.TLS {
		opts = append(opts, kafka.WithTLSFrom(kafka.TLS{CA: pem(c.CACerts), Cert: pem(c.ClientCert), Key: pem(c.ClientKey.Reveal())}))
	}
	if c.Version != "" {
		v, err := sarama.ParseKafkaVersion(c.Version)
		if err != nil {
			return nil, fmt.Errorf("KAFKA_VERSION: %w", err)
		}
		opts = append(opts, kafka.WithVersion(v))
	}
	if c.MaxBytes > 1_000_000 {
		opts = append(opts, kafka.WithMaxMessageBytes(c.MaxBytes+c.MaxBytes/10)) // for the overhead of a record
	}
	transport, err := kafka.New(c.Brokers, opts...)
	if err != nil {
		return nil, err
	}
	return bus.New(transport, bus.WithLogger(log), bus.WithMaxMessageBytes(c.MaxBytes), bus.WithCloseTimeout(c.Shutdown))
}

// pem returns PEM text unchanged. Any other text is the name of a file, which pem reads.
func pem(s string) kafka.PEM {
	switch {
	case s == "":
		return kafka.PEM{}
	case strings.Contains(s, "-----BEGIN"):
		return kafka.PEMText(strings.ReplaceAll(s, `\n`, "\n"))
	default:
		return kafka.PEMFile(s)
	}
}
