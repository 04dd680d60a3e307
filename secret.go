package trunkline

import "log/slog"

// Secret holds a value that must not be seen: however it is printed, logged or
// marshalled it says only whether it is set. The zero Secret is not set.
type Secret struct{ value string }

// NewSecret returns a Secret of value; an empty one is not set.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// IsSet says whether there is a value.
func (s Secret) IsSet() bool { return s.value != "" }

// String returns "[set]", or "" when it is not set.
func (s Secret) String() string {
	if !s.IsSet() {
		return ""
	}
	return "[set]"
}

// GoString keeps the value out of %#v.
func (s Secret) GoString() string { return `trunkline.Secret{"` + s.String() + `"}` }

// MarshalText keeps the value out of JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps the value out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
