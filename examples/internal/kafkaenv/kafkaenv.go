// Package kafkaenv configures the producer and consumer examples by environment
// variables, under the names that the examples of dp-kafka have:
//
//	KAFKA_ADDR                 brokers, host:port with commas between them; localhost:9092
//	KAFKA_SEC_PROTO            TLS to encrypt; nothing for plain text
//	KAFKA_SEC_CA_CERTS         PEM, or a file with it: who is trusted instead of the system's CAs
//	KAFKA_SEC_CLIENT_CERT      PEM, or a file with it: this program's own certificate
//	KAFKA_SEC_CLIENT_KEY       PEM, or a file with it: its private key
//	KAFKA_VERSION              the newest version of the protocol that is used; 2.8.0
//	KAFKA_MAX_BYTES            the largest message; 1000000
//	GRACEFUL_SHUTDOWN_TIMEOUT  how long the program's end may take; 5s
//
// In PEM, \n stands for a new line. Secrets are never flags: flags are seen by every
// user of the machine.
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

// Config is what the examples have in common.
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

// Env reads environment variables, and remembers what is wrong with them.
type Env struct {
	get  func(string) string
	errs []error
}

// NewEnv reads with get, such as os.Getenv.
func NewEnv(get func(string) string) *Env { return &Env{get: get} }

// Err returns what was wrong so far, nil for nothing.
func (e *Env) Err() error { return errors.Join(e.errs...) }

func (e *Env) wrong(name, why string) { e.errs = append(e.errs, fmt.Errorf("%s %s", name, why)) }

// Text returns a variable, or what is the default.
func (e *Env) Text(name, otherwise string) string {
	if v := e.get(name); v != "" {
		return v
	}
	return otherwise
}

// Int returns a number of at least 1.
func (e *Env) Int(name string, otherwise int) int {
	v := e.get(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		e.wrong(name, "is not a number from 1 on")
	}
	return n
}

// Bool returns true or false.
func (e *Env) Bool(name string) bool {
	v := e.get(name)
	if v == "" {
		return false
	}
	yes, err := strconv.ParseBool(v)
	if err != nil {
		e.wrong(name, "is neither true nor false")
	}
	return yes
}

// Duration returns a time over zero.
func (e *Env) Duration(name string, otherwise time.Duration) time.Duration {
	v := e.get(name)
	if v == "" {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		e.wrong(name, "is not a duration like 5s")
	}
	return d
}

// Config returns what is common. What is wrong with it is in Err.
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
		e.wrong("KAFKA_SEC_PROTO", "is neither TLS nor empty")
	case c.CACerts != "" || c.ClientCert != "" || c.ClientKey.IsSet():
		e.wrong("KAFKA_SEC_PROTO", "is not TLS although certificates are given")
	}
	if e.Bool("KAFKA_SEC_SKIP_VERIFY") {
		e.wrong("KAFKA_SEC_SKIP_VERIFY", "is not supported: encryption with whoever answers protects from nobody; give the brokers' CA in KAFKA_SEC_CA_CERTS")
	}
	return c
}

// Open makes the bus. It does not wait for a broker.
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
		opts = append(opts, kafka.WithMaxMessageBytes(c.MaxBytes+c.MaxBytes/10)) // room for a record's frame
	}
	transport, err := kafka.New(c.Brokers, opts...)
	if err != nil {
		return nil, err
	}
	return bus.New(transport, bus.WithLogger(log), bus.WithMaxMessageBytes(c.MaxBytes), bus.WithCloseTimeout(c.Shutdown))
}

// pem takes PEM for what it is, and anything else for a file's name.
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
