package trunkline

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret holds a value that must not be printed, such as a password. Package fmt with
// any verb, slog and encoding/json print only whether it is set. So do printers that read
// unexported fields by reflection. The zero Secret is not set. A Secret is comparable: a
// copy equals its original, and two Secrets made by separate calls of NewSecret differ
// even if their values are the same.
type Secret struct {
	// A pointer and a function, because printers that reach this field by reflection
	// call no methods: they follow pointers but cannot look into a function.
	hidden *hidden
}

type hidden struct{ value func() string }

// NewSecret returns a Secret that holds value. If value is empty, the Secret is not set.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&hidden{func() string { return value }}}
}

// Reveal returns the value, or "" if the Secret is not set.
func (s Secret) Reveal() string {
	if s.hidden == nil {
		return ""
	}
	return s.hidden.value()
}

// IsSet reports whether the Secret holds a value.
func (s Secret) IsSet() bool { return s.hidden != nil }

// String returns "[set]", or "" if the Secret is not set.
func (s Secret) String() string {
	if !s.IsSet() {
		return ""
	}
	return "[set]"
}

// GoString returns the Secret as %#v prints it, without the value.
func (s Secret) GoString() string { return `trunkline.Secret{"` + s.String() + `"}` }

// Format implements fmt.Formatter. For %#v it prints what GoString returns, and for every
// other verb what String returns.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text) // Format cannot return the error
}

// MarshalText implements encoding.TextMarshaler, which encoding/json uses. It returns
// what String returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer. It returns what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
