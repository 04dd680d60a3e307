package kafka

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"
)

// Config contains what most programs set by options, for injectors such as google/wire. A
// field that is zero keeps the default of the option.
type Config struct {
	// Brokers are addresses ("host:port") of some of the cluster's brokers.
	Brokers []string
	// ClientID is the argument of WithClientID.
	ClientID string
	// TLS is the argument of WithTLS, and TLSFrom that of WithTLSFrom. Set at
	// most one. If neither is set, connections are plain text.
	TLS     *tls.Config
	TLSFrom *TLS
	// SASL is the mechanism: plain, scram-sha-256, scram-sha-512 or oauthbearer, in upper
	// or lower case. If it is empty, the mechanism is plain when User or Password is set,
	// and otherwise there is no login.
	SASL string
	// User and Password are the credentials of the login. For oauthbearer, Password returns
	// the token and User must be empty.
	User     string
	Password CredentialSource
	// Logger is the argument of WithLogger.
	Logger *slog.Logger
	// Options are applied after the other fields.
	Options []Option
}

// NewTransport returns a transport with the configuration c. The cleanup function closes
// the transport if no bus has closed it before.
func NewTransport(c Config) (*Transport, func(), error) {
	opts, err := c.options()
	if err != nil {
		return nil, nil, err
	}
	t, err := New(c.Brokers, opts...)
	if err != nil {
		return nil, nil, err
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = t.Close(ctx) // usually the bus has closed it and reported the error
	}, nil
}

func (c Config) options() ([]Option, error) {
	var opts []Option
	if c.ClientID != "" {
		opts = append(opts, WithClientID(c.ClientID))
	}
	if c.TLS != nil {
		opts = append(opts, WithTLS(c.TLS))
	}
	if c.TLSFrom != nil {
		if c.TLS != nil {
			return nil, invalid("configuration: TLS and TLSFrom are both set: set only one")
		}
		opts = append(opts, WithTLSFrom(*c.TLSFrom))
	}
	if c.SASL != "" || c.User != "" || c.Password != nil {
		mechanism := c.SASL
		if mechanism == "" {
			mechanism = "plain"
		}
		opts = append(opts, withSASL(mechanism, c.User, c.Password))
	}
	if c.Logger != nil {
		opts = append(opts, WithLogger(c.Logger))
	}
	return append(opts, c.Options...), nil
}
