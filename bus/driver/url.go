package driver

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// URL is a parsed bus URL: scheme://host[,host…][/path][?parameters]. It is not
// a net/url.URL because that takes one host only. There is no place in it for
// credentials: those come from the environment or a file.
//
// An opener takes the parameters it knows, then calls Done, which fails on what
// is left and on values that did not parse. A URL is for one goroutine.
type URL struct {
	Scheme string
	// Host is what stands between :// and the path, with several hosts separated by
	// commas.
	Host string
	// Path is without the leading slash.
	Path string

	params url.Values
	bad    *Error
}

// ParseURL parses a bus URL. Its errors never repeat the URL, which might hold a
// secret that was put there by mistake.
func ParseURL(raw string) (*URL, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || scheme == "" {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: `the bus URL has no scheme: write memory://name, chan:// or kafka://host:port`}
	}
	if strings.Contains(rest, "#") {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: "the bus URL has a fragment (#…): leave it out"}
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(rest, "@") {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: "the bus URL holds credentials before an @: pass them by environment or file, never in a URL"}
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: "the bus URL's parameters can't be parsed: write ?name=value&name=value"}
	}
	host, path, _ := strings.Cut(rest, "/")
	return &URL{Scheme: strings.ToLower(scheme), Host: host, Path: path, params: params}, nil
}

// Hosts returns the hosts, nil when there is none.
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

// Text takes a parameter: its value, or def when it isn't there. A parameter that
// is given twice is an error.
func (u *URL) Text(name, def string) string {
	v, ok := u.params[name]
	if !ok {
		return def
	}
	delete(u.params, name)
	if len(v) != 1 {
		u.fail(name, "is given more than once")
	}
	return v[0]
}

// Int takes a whole number that is at least low.
func (u *URL) Int(name string, def, low int) int {
	s := u.Text(name, "")
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low {
		u.fail(name, "is not a whole number from "+strconv.Itoa(low))
		return def
	}
	return n
}

// Bool takes true or false.
func (u *URL) Bool(name string, def bool) bool {
	s := u.Text(name, "")
	if s == "" {
		return def
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		u.fail(name, "is neither true nor false")
		return def
	}
	return b
}

// Duration takes a duration over zero, as time.ParseDuration reads it.
func (u *URL) Duration(name string, def time.Duration) time.Duration {
	s := u.Text(name, "")
	if s == "" {
		return def
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		u.fail(name, "is not a duration over zero, like 500ms or 10s")
		return def
	}
	return d
}

// Done returns the first parameter that did not parse, or an error that names the
// parameters nobody took; nil when there is neither.
func (u *URL) Done() error {
	if u.bad != nil {
		return u.bad
	}
	if len(u.params) > 0 {
		return &Error{Code: CodeInvalidArgument, Op: "open", Transport: u.Scheme,
			Reason: "unknown URL parameter " + strings.Join(slices.Sorted(maps.Keys(u.params)), ", ")}
	}
	return nil
}

func (u *URL) fail(name, what string) {
	if u.bad == nil {
		u.bad = &Error{Code: CodeInvalidArgument, Op: "open", Transport: u.Scheme, Reason: "URL parameter " + name + " " + what}
	}
}
