package driver

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Opener returns a transport for a URL. It takes the parameters that it supports from u, and
// must return the error of u.Done. It fails at once for what is wrong on this side; a broker
// that is not available is no error.
type Opener func(ctx context.Context, u *URL) (Transport, error)

var openers = struct {
	sync.RWMutex
	m map[string]Opener
}{m: map[string]Opener{}}

// Register makes a URL scheme available to bus.Open and [Open]. The package of a transport calls
// it in init, so a program only has to import the package. It panics if the scheme is
// registered already, because two packages claim it.
func Register(scheme string, open Opener) {
	openers.Lock()
	defer openers.Unlock()
	if _, ok := openers.m[scheme]; ok {
		panic("driver: scheme " + strconv.Quote(scheme) + " is registered twice")
	}
	openers.m[scheme] = open
}

// Open returns the transport for a URL, for code that wraps the transport before it passes it to
// bus.New. The parameters of the bus, such as group, are unknown to it.
func Open(ctx context.Context, url string) (Transport, error) {
	u, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	return OpenURL(ctx, u)
}

// OpenURL is [Open] for a URL of which the caller has already taken parameters.
func OpenURL(ctx context.Context, u *URL) (Transport, error) {
	openers.RLock()
	open, ok := openers.m[u.Scheme]
	known := slices.Sorted(maps.Keys(openers.m))
	openers.RUnlock()
	if !ok {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: "the bus scheme " + strconv.Quote(u.Scheme) +
			" is unknown; known are " + strings.Join(known, ", ") + ": is the package of the transport imported?"}
	}
	return open(ctx, u)
}
