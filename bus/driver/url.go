package driver

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// URL is a parsed bus URL: scheme://host[,host…][/path][?parameters]. Unlike a net/url.URL it can
// have several hosts. The text of a bus URL must not have credentials: programs read them from the
// environment or from files, and set them with SetCredential.
//
// Text, Int, Bool, Duration and Credential return a parameter and remove it from the URL. An
// [Opener] gets the parameters that it supports this way, and then calls Done. Done returns an
// error if a value was invalid or if parameters remain. A URL is not safe for concurrent use.
type URL struct {
	Scheme string
	// Host is the text between :// and the path: hosts, separated by commas.
	Host string
	// Path has no leading slash.
	Path string

	params      url.Values
	credentials map[string]func(context.Context) (string, error)
	bad         *Error
}

// ParseURL parses a bus URL. Its errors never contain the URL, because the URL may have a secret
// by mistake.
func ParseURL(raw string) (*URL, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || scheme == "" {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: `the bus URL has no scheme: write memory://name, chan:// or kafka://host:port`}
	}
	if strings.Contains(rest, "#") {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: "the bus URL has a fragment (#…): remove it"}
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(rest, "@") {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: "the bus URL has credentials before an @: use the environment or a file, never a URL"}
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: "the parameters of the bus URL cannot be parsed: write ?name=value&name=value"}
	}
	host, path, _ := strings.Cut(rest, "/")
	return &URL{Scheme: strings.ToLower(scheme), Host: host, Path: path, params: params}, nil
}

// Hosts returns the hosts; nil if there are none.
func (u *URL) Hosts() []string {
	if u.Host == "" {
		return nil
	}
	return strings.Split(u.Host, ",")
}

// String returns the URL without its parameters.
func (u *URL) String() string {
	s := u.Scheme + "://" + u.Host
	if u.Path != "" {
		s += "/" + u.Path
	}
	return s
}

// Text removes a parameter and returns its value, or def if it is absent. If the parameter occurs
// more than once, Done returns an error.
func (u *URL) Text(name, def string) string {
	v, ok := u.params[name]
	if !ok {
		return def
	}
	delete(u.params, name)
	if len(v) != 1 {
		u.fail(name, "occurs more than once")
	}
	return v[0]
}

// Int is Text for an integer. If the value is not an integer of at least low, Done returns an
// error.
func (u *URL) Int(name string, def, low int) int {
	s := u.Text(name, "")
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low {
		u.fail(name, "must be an integer of at least "+strconv.Itoa(low))
		return def
	}
	return n
}

// Bool is Text for a boolean, in the form of strconv.ParseBool. If the value has another form,
// Done returns an error.
func (u *URL) Bool(name string, def bool) bool {
	s := u.Text(name, "")
	if s == "" {
		return def
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		u.fail(name, "must be true or false")
		return def
	}
	return b
}

// Duration is Text for a duration greater than 0, in the form of time.ParseDuration. If the value
// has another form, Done returns an error.
func (u *URL) Duration(name string, def time.Duration) time.Duration {
	s := u.Text(name, "")
	if s == "" {
		return def
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		u.fail(name, "must be a duration greater than 0, such as 500ms or 10s")
		return def
	}
	return d
}

// Set sets a parameter, as if it were in the text of the URL. It returns an error if the
// parameter is set already.
func (u *URL) Set(name, value string) error {
	if _, ok := u.params[name]; ok {
		return &Error{Code: CodeInvalidArgument, Op: "open", Transport: u.Scheme,
			Reason: "the URL parameter " + name + " is also set outside the URL: remove one of them"}
	}
	u.params.Set(name, value)
	return nil
}

// SetCredential sets the source of a credential, such as "password". The transport calls source
// each time it needs the credential. source must be safe for concurrent use.
func (u *URL) SetCredential(name string, source func(context.Context) (string, error)) {
	if u.credentials == nil {
		u.credentials = map[string]func(context.Context) (string, error){}
	}
	u.credentials[name] = source
}

// Credential removes the source of a credential from the URL and returns it. It returns nil if
// SetCredential was not called.
func (u *URL) Credential(name string) func(context.Context) (string, error) {
	source := u.credentials[name]
	delete(u.credentials, name)
	return source
}

// Done returns an error if a value was invalid, or if parameters or credentials remain that the
// transport does not support.
func (u *URL) Done() error {
	if u.bad != nil {
		return u.bad
	}
	if len(u.params) > 0 {
		return &Error{Code: CodeInvalidArgument, Op: "open", Transport: u.Scheme,
			Reason: "unknown URL parameter " + strings.Join(slices.Sorted(maps.Keys(u.params)), ", ")}
	}
	if len(u.credentials) > 0 {
		return &Error{Code: CodeInvalidArgument, Op: "open", Transport: u.Scheme,
			Reason: "the transport does not accept the credential " + strings.Join(slices.Sorted(maps.Keys(u.credentials)), ", ")}
	}
	return nil
}

func (u *URL) fail(name, what string) {
	if u.bad == nil {
		u.bad = &Error{Code: CodeInvalidArgument, Op: "open", Transport: u.Scheme, Reason: "URL parameter " + name + " " + what}
	}
}
