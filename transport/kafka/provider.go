package kafka

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	googlewire "github.com/google/wire" // this package has a type named wire

	"github.com/trunkline/trunkline/bus/driver"
)

// Set provides a driver.Transport from a Config for google/wire.
var Set = googlewire.NewSet(NewTransport, googlewire.Bind(new(driver.Transport), new(*Transport)))

// Config holds as fields what most programs set by options. What is left zero has its
// default.
type Config struct {
	// Brokers are some of the cluster's, "host:port".
	Brokers []string
	// ClientID is what WithClientID sets.
	ClientID string
	// TLS is what WithTLS sets; nil is plain text.
	TLS *tls.Config
	// User and Password are what WithSASLPlain takes.
	User     string
	Password func(context.Context) (string, error)
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
	if c.User != "" || c.Password != nil {
		opts = append(opts, WithSASLPlain(c.User, c.Password))
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
