package kafka

import (
	"fmt"
	"log/slog"
	"strings"
)

// String returns the brokers' addresses and how connections are secured. It contains no
// credentials.
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

// Format writes String for every verb. Without it, package fmt would read the fields of a
// transport in use.
func (t *Transport) Format(f fmt.State, _ rune) { fmt.Fprint(f, t.String()) }

// LogValue returns String.
func (t *Transport) LogValue() slog.Value { return slog.StringValue(t.String()) }
