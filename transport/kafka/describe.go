package kafka

import (
	"fmt"
	"log/slog"
	"strings"
)

// String says which brokers the transport is on and how it is secured, without secrets.
func (t *Transport) String() string {
	s := "kafka transport on " + strings.Join(t.seeds, ",")
	if t.opts.tls != nil {
		s += ", TLS"
	}
	if t.opts.login != nil {
		s += ", " + t.opts.login.String()
	}
	return s
}

// Format is String for every verb of package fmt, which otherwise would look into the
// transport while it is at work.
func (t *Transport) Format(f fmt.State, _ rune) { fmt.Fprint(f, t.String()) }

// LogValue is String.
func (t *Transport) LogValue() slog.Value { return slog.StringValue(t.String()) }
