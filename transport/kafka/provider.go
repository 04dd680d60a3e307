package kafka

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"
)

// Config holds as fields what most programs set by options. What is left zero has its
// default.
type Config struct {
	// Brokers are some of the cluster's, "host:port".
	Brokers []string
	// ClientID is what WithClientID sets.
	ClientID string
	// TLS is what WithTLS sets, and TLSFrom what WithTLSFrom does. At most one is set;
	// with neither, connections are plain text.
	TLS     *tls.Config
	TLSFrom *TLS
	// SASL is the mechanism: plain, scram-sha-256, scram-sha-512 or oauthbearer, in
	// letters of either case. "" is plain when User is set, and no login when it isn't.
	SASL string
	// User and Password are those of a login; for oauthbearer Password is the token, and
	// there is no User.
	User     string
	Password Secret
	// Logger is what WithLogger sets.
	Logger *slog.Logger
	// Options are applied after the fields.
	Options []Option
}

// NewTransport is New with what c says, and a cleanup that closes the transport, in
// case the bus it is for was never made.
func NewTransport(c Config) (*Transport, func(), error) {
	var opts []Option
	if c.ClientID != "" {
		opts = append(opts, WithClientID(c.ClientID))
	}
	if c.TLS != nil {
		opts = append(opts, WithTLS(c.TLS))
	}
	if c.TLSFrom != nil {
		if c.TLS != nil {
			return nil, nil, invalid("both TLS and TLSFrom are set: leave one out")
		}
		opts = append(opts, WithTLSFrom(*c.TLSFrom))
	}
	if c.SASL != "" || c.User != "" || c.Password != nil {
		opts = append(opts, withSASL(c.SASL, c.User, c.Password))
	}
	if c.Logger != nil {
		opts = append(opts, WithLogger(c.Logger))
	}
	t, err := New(c.Brokers, append(opts, c.Options...)...)
	if err != nil {
		return nil, nil, err
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = t.Close(ctx) // a bus has closed it already, and told
	}, nil
}
