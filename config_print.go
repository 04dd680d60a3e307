package trunkline

import (
	"log/slog"
	"strings"

	"github.com/trunkline/trunkline/bus/driver"
)

// String returns the configuration on one line, without secrets.
func (c Config) String() string {
	var b strings.Builder
	for i, a := range c.attrs() {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.String())
	}
	return b.String()
}

// GoString returns the configuration as %#v prints it, without secrets.
func (c Config) GoString() string { return "trunkline.Config{" + c.String() + "}" }

// LogValue implements slog.LogValuer. It returns a group of the fields, without secrets.
func (c Config) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

func (c Config) attrs() []slog.Attr {
	attrs := []slog.Attr{
		slog.String("service", c.Service),
		slog.String("bus", safeURL(c.BusURL)),
		slog.String("probe", c.ProbeAddr),
		slog.Duration("live-interval", c.LiveInterval),
		slog.Duration("not-live-interval", c.NotLiveInterval),
		slog.Duration("shutdown-timeout", c.ShutdownTimeout),
		slog.String("log-level", c.LogLevel.String()),
	}
	if c.GRPCAddr != "" {
		attrs = append(attrs, slog.String("grpc", c.GRPCAddr))
	}
	if len(c.CheckTopics) > 0 {
		attrs = append(attrs, slog.String("check-topics", (*namesFlag)(&c.CheckTopics).String()))
	}
	if c.CheckMinBrokers > 0 {
		attrs = append(attrs, slog.Int("check-min-brokers", c.CheckMinBrokers))
	}
	k := c.Kafka
	if k.TLS {
		attrs = append(attrs, slog.Bool("kafka-tls", true))
	}
	for _, a := range []slog.Attr{
		slog.String("kafka-ca-file", k.CAFile), slog.String("kafka-cert-file", k.CertFile), slog.String("kafka-key-file", k.KeyFile),
		slog.String("kafka-server-name", k.ServerName), slog.String("kafka-sasl", k.SASL), slog.String("kafka-user", k.User), slog.String("kafka-password-file", k.PasswordFile), slog.String("kafka-password", k.Password.String()),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	return attrs
}

// safeURL returns the URL without its parameters, because they may contain a secret by
// mistake. For an invalid URL it returns "[invalid]".
func safeURL(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := driver.ParseURL(raw)
	if err != nil {
		return "[invalid]"
	}
	return u.String()
}
